//! Pictures made larger: an upscaler that is opened once, and enlarges as many pictures as it is asked to.
//!
//! It is a file of a network, which is converted in memory for parts of the size that suits a picture, or a package, whose
//! parts have the size that it was converted for. How parts become a picture without seams is `sd_runtime::upscale`'s.

mod model;
mod options;
mod write;

use std::fmt::Display;
use std::ops::ControlFlow;

use sd_checkpoint::Source;
use sd_runtime::image::{Filter, RgbImage, Size};
use sd_runtime::upscale::{OnRows, Tiles, Upscaler as Runner};
use sd_runtime::{RuntimeError, Stop};

use crate::error::{Error, Result, refusal};
use crate::watch::{self, Event, Progress, Unit, Watch};
use model::Model;
pub use options::{Enlargement, UpscalerOptions};
pub use write::{Original, Upscaled};

/// An upscaler that is open.
///
/// ```no_run
/// use smelt::{Enlargement, Stop, Unwatched, Upscaler, UpscalerOptions};
///
/// # fn main() -> Result<(), smelt::Error> {
/// let mut upscaler = Upscaler::open("RealESRGAN_x4plus.pth", &UpscalerOptions::default())?;
/// let picture = smelt::read_picture("small.png".as_ref())?;
/// let large = upscaler.upscale(&picture, Enlargement::By(2.0), &Stop::never(), &mut Unwatched)?;
/// assert_eq!(large.width(), 2 * picture.width());
/// # Ok(())
/// # }
/// ```
pub struct Upscaler {
    model: Model,
    options: UpscalerOptions,
    factor: usize,
    /// What runs, and the size of its parts: that of the picture before, where the next one takes the same.
    runner: Option<Runner>,
}

impl Upscaler {
    /// Opens a file of a network, a package, or a folder that holds one package of an upscaler.
    ///
    /// # Errors
    /// For everything else, which is named for what it is; for upscalers that are not read, with those that are; and for
    /// options that it cannot heed.
    pub fn open<S: TryInto<Source, Error: Display>>(source: S, options: &UpscalerOptions) -> Result<Self> {
        let source: Source = source.try_into().map_err(|error| refusal!("{error}"))?;
        let model = Model::open(&source, options)?;
        let runner = if model.factor().is_none() { Some(model.load(None, options)?) } else { None };
        let factor = model.factor().or(runner.as_ref().map(Runner::factor)).unwrap_or(1);
        Ok(Self { model, options: options.clone(), factor, runner })
    }

    /// Its name: the file's, or that of the package.
    #[must_use]
    pub fn name(&self) -> &str {
        self.model.name()
    }

    /// How many times as large it makes pictures, along each side.
    #[must_use]
    pub const fn factor(&self) -> usize {
        self.factor
    }

    /// The size that a picture becomes.
    ///
    /// # Errors
    /// [`Error::Refused`] for what is larger than the network makes it, and for numbers that are none.
    pub fn size_of(&self, picture: Size, enlargement: Enlargement) -> Result<Size> {
        enlargement.size_of(picture, self.factor)
    }

    /// Makes a picture larger; where another size than the network's own is asked for, it is made smaller again, by Lanczos.
    ///
    /// Memory is that of the model, of parts of the picture, and of the picture that the network makes.
    ///
    /// # Errors
    /// As [`Upscaler::size_of`]; when the model cannot be run; [`Error::Stopped`] once `stop` is set, in another thread as
    /// well, or the watcher breaks off.
    pub fn upscale(
        &mut self,
        picture: &RgbImage,
        enlargement: Enlargement,
        stop: &Stop,
        watch: &mut dyn Watch,
    ) -> Result<RgbImage> {
        let size = self.size_of(picture.size(), enlargement)?;
        let runner = self.runner(picture.size(), watch)?;
        let upscaled = runner.upscale(picture, stop, &mut |tiles| told(watch, tiles)).map_err(stopped)?;
        let _ = watch.event(Event::End);
        Ok(if upscaled.size() == size { upscaled } else { upscaled.resize(size, Filter::Lanczos) })
    }

    /// Makes a picture larger by the network's own factor, and hands on its rows as they are done, so that memory grows with
    /// its width only.
    ///
    /// # Errors
    /// As [`Upscaler::upscale`], and those of whoever gets the rows.
    pub fn upscale_rows(
        &mut self,
        picture: &RgbImage,
        on_rows: OnRows<'_>,
        stop: &Stop,
        watch: &mut dyn Watch,
    ) -> Result<()> {
        let runner = self.runner(picture.size(), watch)?;
        runner.upscale_rows(picture, stop, &mut |tiles| told(watch, tiles), on_rows).map_err(stopped)?;
        let _ = watch.event(Event::End);
        Ok(())
    }

    /// What runs the parts of such a picture.
    fn runner(&mut self, picture: Size, watch: &mut dyn Watch) -> Result<&mut Runner> {
        let tile = self.model.tile(picture, &self.options);
        let runner = match self.runner.take().filter(|runner| tile.is_none_or(|tile| runner.tile() == tile)) {
            Some(runner) => runner,
            None => {
                watch::begin(watch, "loading")?;
                let runner = self.model.load(tile, &self.options)?;
                watch::end(watch)?;
                runner
            }
        };
        Ok(self.runner.insert(runner))
    }
}

fn told(watch: &mut dyn Watch, Tiles { done, count }: Tiles) -> ControlFlow<()> {
    watch.event(Event::Progress(Progress {
        what: "upscaling",
        done: done as u64,
        total: count as u64,
        unit: Unit::Tiles,
    }))
}

fn stopped(error: RuntimeError) -> Error {
    match error {
        RuntimeError::Stopped { .. } => Error::Stopped,
        other => other.into(),
    }
}

//! Pictures made larger by a model that takes parts of one size: cut into tiles, and put together without seams.
//!
//! Every tile is computed with context around the part that is kept of it, and where two meet, one fades into the other
//! (`tiling`). Rows are handed on as soon as a row of tiles is done, so that memory does not grow with the height of a picture.
//! Which model it is, and what becomes of the rows, is the caller's business.

mod join;
#[cfg(test)]
mod tests;
mod tiling;

use std::ops::ControlFlow;

use sd_spec::{Axis, Dims, Role};

use crate::engine::{Engine, Tensors};
use crate::error::{Result, RuntimeError};
use crate::image::{RgbImage, Size};
use crate::port::Port;
use host_tensor::Stop;
use join::Rows;
pub use tiling::largest_overlap;
use tiling::{Span, spans};

/// A model that makes pictures larger, and the size of the parts that it takes.
pub struct Upscaler {
    engine: Box<dyn Engine>,
    port: Port,
    tile: Size,
    factor: usize,
    multiple: usize,
    /// What was asked for.
    overlap: Option<usize>,
}

/// How many tiles of a picture are done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tiles {
    /// Tiles that are done.
    pub done: usize,
    /// All of the picture.
    pub count: usize,
}

/// Who hears of tiles, and may stop between two.
pub type OnTile<'a> = &'a mut dyn FnMut(Tiles) -> ControlFlow<()>;

/// Who gets rows of the enlarged picture, one or several at a time, from the top: red, green and blue of each pixel.
pub type OnRows<'a> = &'a mut dyn FnMut(&[u8]) -> Result<()>;

/// Context that suits ESRGAN's networks: what lies further off changes a pixel of RealESRGAN_x4plus_anime_6B by 0.2 grey levels
/// in the mean, and by 2 at most (photographs, PyTorch 2.15); with 16 pixels it was 1.4, and 19 at most.
pub const USUAL_OVERLAP: usize = 32;

/// Phases that a network may tell pixels apart by: squares of so many become one before anything else.
const MAX_MULTIPLE: usize = 8;

impl Upscaler {
    /// Takes a model by its signature: `picture` `[1, 3, H, W]` in 0 to 1, and `upscaled` `[1, 3, H·n, W·n]`.
    ///
    /// # Errors
    /// [`RuntimeError::Signature`] for a model that is no upscaler of colour pictures.
    pub fn new(engine: Box<dyn Engine>) -> Result<Self> {
        let port = Port::new(Role::Upscaler, engine.signature().clone(), &[])?;
        port.expect_output("upscaled")?;
        let mut dims = Dims::new().with(Axis::PictureChannels, 3);
        port.learn(&mut dims, |_, shape, _| format!("takes {shape:?}, where pictures in colour are [1, 3, H, W]"))?;
        let side = |axis| dims.get(axis).unwrap_or_default();
        let tile = Size { width: side(Axis::PictureWidth), height: side(Axis::PictureHeight) };
        let of_output = port.output_dims("upscaled");
        let factor = of_output.and_then(|shape| factor_of(tile, shape)).ok_or_else(|| {
            let given = of_output.map_or_else(|| "of unknown shape".to_owned(), |shape| format!("{shape:?}"));
            port.fault(format!("gives pictures {given} for {tile}, which is no whole number of times as large"))
        })?;
        let multiple = common(common(tile.width, tile.height), MAX_MULTIPLE);
        Ok(Self { engine, port, tile, factor, multiple, overlap: None })
    }

    /// The same for a network that takes pictures whose sides are multiples of this; without it tiles begin at multiples of
    /// what divides the tile, which any network takes.
    ///
    /// # Errors
    /// [`RuntimeError::Options`] where the tile's sides are none.
    pub fn with_multiple(mut self, multiple: usize) -> Result<Self> {
        let Size { width, height } = self.tile;
        if multiple == 0 || width % multiple != 0 || height % multiple != 0 {
            let tile = self.tile;
            return Err(RuntimeError::Options(format!("tiles of {tile} are no multiples of {multiple} pixels")));
        }
        self.multiple = multiple;
        Ok(self)
    }

    /// The same with other context than [`usual_overlap`]: pixels of the picture that are computed around each tile and left
    /// out. Pictures of one tile have none.
    #[must_use]
    pub const fn with_overlap(mut self, overlap: usize) -> Self {
        self.overlap = Some(overlap);
        self
    }

    /// Columns and rows of the parts that the model takes.
    #[must_use]
    pub const fn tile(&self) -> Size {
        self.tile
    }

    /// How many times as large pictures become, along each side.
    #[must_use]
    pub const fn factor(&self) -> usize {
        self.factor
    }

    /// The size that a picture becomes.
    #[must_use]
    pub const fn upscaled(&self, size: Size) -> Size {
        Size { width: size.width.saturating_mul(self.factor), height: size.height.saturating_mul(self.factor) }
    }

    /// Makes a picture larger.
    ///
    /// # Errors
    /// As [`Upscaler::upscale_rows`], and where there is no memory for the result.
    pub fn upscale(&mut self, picture: &RgbImage, stop: &Stop, on_tile: OnTile<'_>) -> Result<RgbImage> {
        let size = self.upscaled(picture.size());
        let no_room = || RuntimeError::Options(format!("there is no memory for a picture of {size}"));
        let n_bytes = size.n_pixels().checked_mul(3).ok_or_else(no_room)?;
        let mut pixels = Vec::new();
        pixels.try_reserve_exact(n_bytes).map_err(|_| no_room())?;
        self.upscale_rows(picture, stop, on_tile, &mut |rows| {
            pixels.extend_from_slice(rows);
            Ok(())
        })?;
        RgbImage::new(size.width, size.height, pixels)
    }

    /// Makes a picture larger, and hands on its rows as they are done; memory grows with its width only.
    ///
    /// # Errors
    /// [`RuntimeError::Options`] for an empty picture, and an overlap that leaves nothing of a tile;
    /// [`RuntimeError::Engine`] for what the model fails with; [`RuntimeError::Signature`] for values that are not finite;
    /// [`RuntimeError::Stopped`] once `stop` is set or whoever hears of tiles breaks off; and those of whoever gets the rows.
    pub fn upscale_rows(
        &mut self,
        picture: &RgbImage,
        stop: &Stop,
        on_tile: OnTile<'_>,
        on_rows: OnRows<'_>,
    ) -> Result<()> {
        let (size, tile) = (picture.size(), self.tile);
        if size.n_pixels() == 0 {
            return Err(RuntimeError::Options("a picture without pixels cannot be upscaled".to_owned()));
        }
        let (across, down) = (self.spans(size.width, tile.width)?, self.spans(size.height, tile.height)?);
        let count = across.len() * down.len();
        let mut rows = Rows::new(size.width * self.factor, self.upscaled(tile));
        let mut done = 0;
        for vertical in &down {
            rows.begin(vertical);
            for horizontal in &across {
                let stopped = RuntimeError::Stopped { step: done, count };
                if stop.is_set() {
                    return Err(stopped);
                }
                let planes = self.tile_of(picture, horizontal, vertical, stop, stopped)?;
                rows.add(&planes, horizontal);
                done += 1;
                if on_tile(Tiles { done, count }).is_break() {
                    return Err(RuntimeError::Stopped { step: done, count });
                }
            }
            on_rows(rows.finish())?;
        }
        Ok(())
    }

    /// The tiles along a side.
    fn spans(&self, side: usize, tile: usize) -> Result<Vec<Span>> {
        let overlap = self.overlap.unwrap_or_else(|| usual_overlap(tile));
        let most = largest_overlap(tile, self.multiple);
        if side > tile && overlap > most {
            return Err(RuntimeError::Options(format!(
                "an overlap of {overlap} pixels leaves nothing of tiles of {tile}; {most} would be the most"
            )));
        }
        Ok(spans(side, tile, overlap.min(most), self.multiple, self.factor))
    }

    /// Planes of an enlarged tile.
    fn tile_of(
        &mut self,
        picture: &RgbImage,
        horizontal: &Span,
        vertical: &Span,
        stop: &Stop,
        stopped: RuntimeError,
    ) -> Result<Vec<f32>> {
        let planes = tiling::planes(picture, [horizontal.start, vertical.start], self.tile);
        let inputs = Tensors::from([("picture".to_owned(), self.port.tensor("picture", planes)?)]);
        let mut outputs = match self.engine.run(&inputs, stop) {
            Ok(outputs) => outputs,
            Err(_) if stop.is_set() => return Err(stopped),
            Err(source) => return Err(RuntimeError::Engine { model: "upscaler", source }),
        };
        let n_values = self.upscaled(self.tile).n_pixels().saturating_mul(3);
        let values = self.port.take_values(&mut outputs, "upscaled", n_values)?;
        match values.iter().all(|value| value.is_finite()) {
            true => Ok(values),
            false => Err(self.port.fault(
                "gives values that are not finite; its weights are damaged, or leave the precision that it was converted in"
                    .to_owned(),
            )),
        }
    }
}

impl std::fmt::Debug for Upscaler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { tile, factor, .. } = self;
        write!(f, "Upscaler(x{factor}, tiles of {tile})")
    }
}

/// The context that tiles of a side have where nobody asks for another: [`USUAL_OVERLAP`], or a quarter of small ones.
#[must_use]
pub const fn usual_overlap(tile: usize) -> usize {
    if tile / 4 < USUAL_OVERLAP { tile / 4 } else { USUAL_OVERLAP }
}

/// How many times as large a shape is as a tile.
fn factor_of(tile: Size, shape: &[usize]) -> Option<usize> {
    let &[1, 3, height, width] = shape else { return None };
    let factor = height.checked_div(tile.height)?;
    (factor > 0 && [height, width] == [tile.height.checked_mul(factor)?, tile.width.checked_mul(factor)?])
        .then_some(factor)
}

/// The largest number that divides both.
const fn common(a: usize, b: usize) -> usize {
    if b == 0 { a } else { common(b, a % b) }
}

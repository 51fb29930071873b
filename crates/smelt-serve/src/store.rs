//! Finished pictures: in memory for a bounded time and space, or in files of a folder, which nobody but the user removes.
//!
//! With a folder a picture is told of only when its file is there, so that a server that is killed loses none of them; they
//! are found again when the next one starts.

use std::collections::HashMap;
use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use safe_files::{OutputFolder, Outputs, WriteError};
use serde::Serialize;
use serde_json::Value;
use smelt::image::{PictureFormat, RgbImage};
use utoipa::ToSchema;

use crate::clock::{now, stamp};
use crate::format::about;

/// Largest file that is served.
const MOST_BYTES: u64 = 1 << 30;

/// A picture that is kept.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct Kept {
    /// What it is fetched by.
    pub(crate) id: String,
    /// Where: `/smelt/v1/pictures/ID`.
    pub(crate) url: String,
    /// Name of its file, for who saves it.
    pub(crate) file: String,
    /// Seconds since 1970.
    pub(crate) created: f64,
    pub(crate) width: usize,
    pub(crate) height: usize,
    /// What it shows.
    pub(crate) prompt: String,
    /// Name of the model.
    pub(crate) model: String,
    pub(crate) seed: Option<u64>,
    /// All settings, as its file has them under `smelt`; null for pictures that were only made larger.
    #[schema(value_type = Object)]
    pub(crate) settings: Value,
    #[serde(skip)]
    content: Content,
    #[serde(skip)]
    format: PictureFormat,
}

#[derive(Debug, Clone)]
enum Content {
    Memory(Arc<Vec<u8>>),
    File(PathBuf),
}

/// A picture that is to be kept.
pub(crate) struct New {
    pub(crate) bytes: Vec<u8>,
    pub(crate) format: PictureFormat,
    pub(crate) size: [usize; 2],
    pub(crate) settings: Value,
}

/// All of them.
pub(crate) struct Store {
    folder: Option<PathBuf>,
    most_bytes: usize,
    most_time: Duration,
    inner: Mutex<Inner>,
    /// Held so that a folder in which nothing was kept goes again.
    _made: Option<OutputFolder>,
}

/// A picture that is kept, in little room: settings as text take a quarter of what they take apart.
struct Entry {
    /// Without its settings.
    kept: Kept,
    settings: Box<str>,
    /// What it does not show, for searches.
    negative: Box<str>,
}

impl Entry {
    fn new(mut kept: Kept) -> Self {
        let settings = std::mem::take(&mut kept.settings);
        Self { negative: text(&settings, "negative_prompt").into(), settings: settings.to_string().into(), kept }
    }

    /// With its settings.
    fn whole(&self) -> Kept {
        Kept { settings: serde_json::from_str(&self.settings).unwrap_or_default(), ..self.kept.clone() }
    }
}

#[derive(Default)]
struct Inner {
    by_id: HashMap<String, Entry>,
    /// From the oldest on.
    order: Vec<String>,
    n_bytes: usize,
}

impl Store {
    /// What a folder holds already is found again.
    pub(crate) fn new(folder: Option<PathBuf>, most_bytes: usize, most_time: Duration) -> Result<Self, WriteError> {
        let mut inner = Inner::default();
        let mut made = None;
        if let Some(path) = &folder {
            let mut folder = Outputs::new().folder("--keep", path)?;
            folder.make()?;
            made = Some(folder);
            // What cannot be read has no pictures that could be found again.
            let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
            let mut found: Vec<Kept> = entries.filter_map(|entry| again(&entry.path())).collect();
            found.sort_by(|a, b| a.created.total_cmp(&b.created).then_with(|| a.file.cmp(&b.file)));
            inner.order = found.iter().map(|kept| kept.id.clone()).collect();
            inner.by_id = found.into_iter().map(|kept| (kept.id.clone(), Entry::new(kept))).collect();
        }
        Ok(Self { folder, most_bytes, most_time, inner: Mutex::new(inner), _made: made })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a picture; of those in memory the oldest go where there are too many.
    pub(crate) fn put(&self, new: New) -> Result<Kept, String> {
        let id = uuid::Uuid::new_v4().simple().to_string();
        let created = now();
        let seed = new.settings.get("seed").and_then(Value::as_u64);
        let ending = about(new.format).ending;
        let file = match seed {
            Some(seed) => format!("{}-{seed}-{id}.{ending}", stamp(created)),
            None => format!("{}-larger-{id}.{ending}", stamp(created)),
        };
        let n_bytes = new.bytes.len();
        let content = match &self.folder {
            Some(folder) => {
                let path = folder.join(&file);
                let output = Outputs::new().file("--keep", &path).map_err(|error| error.to_string())?;
                output.write(|out| std::io::Write::write_all(out, &new.bytes)).map_err(|error| error.to_string())?;
                Content::File(path)
            }
            None => Content::Memory(Arc::new(new.bytes)),
        };
        let kept = Kept {
            url: format!("/smelt/v1/pictures/{id}"),
            file,
            created,
            width: new.size[0],
            height: new.size[1],
            prompt: text(&new.settings, "prompt"),
            model: text(&new.settings, "model"),
            seed,
            settings: new.settings,
            content,
            format: new.format,
            id,
        };
        let mut inner = self.lock();
        if matches!(kept.content, Content::Memory(_)) {
            inner.n_bytes += n_bytes;
        }
        inner.order.push(kept.id.clone());
        inner.by_id.insert(kept.id.clone(), Entry::new(kept.clone()));
        self.forget(&mut inner);
        Ok(kept)
    }

    /// Drops what is too old or too much; the newest stays.
    fn forget(&self, inner: &mut Inner) {
        let oldest = now() - self.most_time.as_secs_f64();
        let mut at = 0;
        while at + 1 < inner.order.len() {
            let kept = &inner.by_id[&inner.order[at]].kept;
            let Content::Memory(bytes) = &kept.content else {
                at += 1;
                continue;
            };
            if kept.created >= oldest && inner.n_bytes <= self.most_bytes {
                break;
            }
            inner.n_bytes -= bytes.len();
            let id = inner.order.remove(at);
            inner.by_id.remove(&id);
        }
    }

    /// What is known of a picture.
    pub(crate) fn get(&self, id: &str) -> Option<Kept> {
        self.lock().by_id.get(id).map(Entry::whole)
    }

    /// The newest first: those whose prompt, model or seed has all words of a search, from `skip` on, and how many match.
    pub(crate) fn list(&self, search: &str, skip: usize, most: usize) -> (Vec<Kept>, usize) {
        let words: Vec<String> = search.split_whitespace().map(str::to_lowercase).collect();
        let inner = self.lock();
        let matches = |entry: &&Entry| {
            let Entry { kept, negative, .. } = entry;
            let seed = kept.seed.map_or_else(String::new, |seed| seed.to_string());
            let all = format!("{}\n{negative}\n{}\n{seed}", kept.prompt, kept.model).to_lowercase();
            words.iter().all(|word| all.contains(word.as_str()))
        };
        let found: Vec<&Entry> =
            inner.order.iter().rev().filter_map(|id| inner.by_id.get(id)).filter(matches).collect();
        (found.iter().skip(skip).take(most).map(|entry| entry.whole()).collect(), found.len())
    }

    /// Forgets a picture, and removes its file.
    pub(crate) fn remove(&self, id: &str) -> Result<bool, String> {
        let mut inner = self.lock();
        let Some(entry) = inner.by_id.get(id) else { return Ok(false) };
        match &entry.kept.content {
            Content::File(path) => {
                let file = Outputs::new().file("the picture", path).map_err(|error| error.to_string())?;
                file.remove().map_err(|error| error.to_string())?;
            }
            Content::Memory(bytes) => inner.n_bytes -= bytes.len(),
        }
        inner.by_id.remove(id);
        inner.order.retain(|other| other != id);
        Ok(true)
    }

    /// Bytes of all pictures in memory, and how many pictures there are.
    pub(crate) fn size(&self) -> (usize, usize) {
        let inner = self.lock();
        (inner.n_bytes, inner.order.len())
    }
}

impl Kept {
    /// The file; what somebody removed meanwhile is an error.
    pub(crate) fn bytes(&self) -> Result<Arc<Vec<u8>>, String> {
        match &self.content {
            Content::Memory(bytes) => Ok(bytes.clone()),
            Content::File(path) => safe_files::read(path, MOST_BYTES).map(Arc::new).map_err(|error| error.to_string()),
        }
    }

    /// Its content type.
    pub(crate) fn content_type(&self) -> &'static str {
        about(self.format).content_type
    }
}

fn text(settings: &Value, key: &str) -> String {
    settings.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// A picture that an earlier server kept.
fn again(path: &Path) -> Option<Kept> {
    let file = path.file_name()?.to_str()?.to_owned();
    let stem = path.file_stem()?.to_str()?;
    let id =
        stem.rsplit('-').next().filter(|id| id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit()))?.to_owned();
    let format = PictureFormat::of(path)?;
    let created =
        std::fs::metadata(path).ok()?.modified().ok()?.duration_since(std::time::UNIX_EPOCH).ok()?.as_secs_f64();
    let bytes = safe_files::read(path, MOST_BYTES).ok()?;
    let size = RgbImage::read_size(Cursor::new(&bytes)).ok()?;
    let found = smelt::metadata::read_bytes(&bytes).ok()?;
    let own = found.texts.iter().find(|text| text.keyword == "smelt");
    let settings: Value = own.and_then(|text| serde_json::from_str(&text.text).ok()).unwrap_or_default();
    Some(Kept {
        url: format!("/smelt/v1/pictures/{id}"),
        file,
        created,
        width: size.width,
        height: size.height,
        prompt: text(&settings, "prompt"),
        model: text(&settings, "model"),
        seed: settings.get("seed").and_then(Value::as_u64),
        settings,
        content: Content::File(path.to_owned()),
        format,
        id,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn new(seed: u64, prompt: &str) -> New {
        let settings = serde_json::json!({ "seed": seed, "prompt": prompt, "model": "m", "width": 1, "height": 1 });
        let image = smelt::image::RgbImage::new(1, 1, vec![1, 2, 3]).unwrap();
        let mut bytes = Vec::new();
        image.write_png(&mut bytes, &[smelt::image::PngText::new("smelt", settings.to_string())]).unwrap();
        New { bytes, format: PictureFormat::Png, size: [1, 1], settings }
    }

    #[test]
    fn the_oldest_go_where_there_are_too_many() {
        let one = new(1, "a").bytes.len();
        let store = Store::new(None, 2 * one + 10, Duration::from_secs(1000)).unwrap();
        let ids: Vec<String> = (0..4).map(|seed| store.put(new(seed, "a")).unwrap().id).collect();
        let there: Vec<bool> = ids.iter().map(|id| store.get(id).is_some()).collect();
        assert_eq!((there, store.size().1), (vec![false, false, true, true], 2));
        assert!(store.size().0 <= 2 * one + 10);
    }

    #[test]
    fn searches_look_for_every_word() {
        let store = Store::new(None, 1 << 20, Duration::from_secs(1000)).unwrap();
        for (seed, prompt) in [(7, "a red heart"), (8, "a blue heart"), (9, "a red car")] {
            store.put(new(seed, prompt)).unwrap();
        }
        let found =
            |search: &str| store.list(search, 0, 10).0.iter().map(|kept| kept.seed.unwrap()).collect::<Vec<_>>();
        assert_eq!(found("RED"), [9, 7]);
        assert_eq!(found("heart blue"), [8]);
        assert_eq!(found("green"), [0u64; 0]);
        assert_eq!((store.list("", 1, 1).0[0].seed, store.list("", 1, 1).1), (Some(8), 3));
    }

    #[test]
    fn a_folder_is_found_again() {
        let dir = tempfile::tempdir().unwrap();
        let open = || Store::new(Some(dir.path().join("pictures")), 0, Duration::ZERO).unwrap();
        let first = open();
        let ids = [first.put(new(3, "a heart")).unwrap().id, first.put(new(4, "a car")).unwrap().id];
        std::fs::write(dir.path().join("pictures/notes.txt"), b"x").unwrap();
        let second = open();
        let kept = second.get(&ids[0]).unwrap();
        assert_eq!((kept.prompt.as_str(), kept.seed, kept.width), ("a heart", Some(3), 1));
        assert_eq!(*kept.bytes().unwrap(), new(3, "a heart").bytes);
        assert!(second.remove(&ids[0]).unwrap() && !second.remove(&ids[0]).unwrap());
        assert_eq!(open().size(), (0, 1));
    }
}

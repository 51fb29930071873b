//! What stands beside the packages so that a directory of them draws pictures on its own.
//!
//! | file | what | for whom |
//! |---|---|---|
//! | `vocab.json`, `merges.txt` | CLIP's byte pairs | Smelt, and Apple's Swift package |
//! | `tokenizer.json`, `tokenizer_config.json`, `special_tokens_map.json`, `added_tokens.json` | special and added tokens, padding | Smelt |
//! | `tokenizer_2/` | what the second tokenizer has of its own, of XL and 3 | Smelt |
//! | `tokenizer_3/` | T5's tokenizer, of 3 | Smelt |
//! | `scheduler_config.json` | the noise schedule, as the checkpoint has it | Smelt |
//! | `smelt.json` | [`Settings`]: what else the models do not say of themselves, and of which files they were made | Smelt |
//!
//! Weights are not here, and nothing is interpreted beyond what must be.

mod resources;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use safe_files::{Below, Folder, NamedFiles, OutputFile, OutputFolder, Outputs};
use sd_checkpoint::Checkpoint;
use sd_runtime::pipeline::{PipelineConfig, PreprocessorConfig, VaeConfig};
use sd_runtime::scheduler::SchedulerConfig;
use sd_runtime::tokenizer::{ClipTokenizer, T5Tokenizer};
use sd_spec::Family;
use serde_json::Value;

use crate::error::{Context, Result, refusal};
use crate::file::json_if_present;
use crate::fit;
use crate::loras::named;
use crate::recommended::Recommended;
use crate::settings::{self, SETTINGS_FILE, Settings};
use crate::watch::{Watch, write_file};

const SCHEDULER_FILE: &str = "scheduler_config.json";
const VOCAB_FILE: &str = "vocab.json";
const MERGES_FILE: &str = "merges.txt";
const TOKENIZER_JSON: &str = "tokenizer.json";
/// Folder of the second tokenizer, in checkpoints and beside packages.
const SECOND: &str = "tokenizer_2";
/// The folder of T5's tokenizer.
const THIRD: &str = "tokenizer_3";
/// Its files.
const T5_FILES: [&str; 2] = ["tokenizer.json", "tokenizer_config.json"];
/// Files of a tokenizer that say its vocabulary.
const VOCABULARY_FILES: [&str; 3] = [VOCAB_FILE, MERGES_FILE, TOKENIZER_JSON];
/// Files of a tokenizer that are taken as they are.
const TOKENIZER_FILES: [&str; 6] =
    [VOCAB_FILE, MERGES_FILE, TOKENIZER_JSON, "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"];
/// Cap on each file; CLIP's own are below 4 MB.
const MAX_BYTES: u64 = 64 << 20;

/// The files to be written, by name.
#[derive(Debug, Default)]
pub(crate) struct Bundle {
    files: Vec<(String, Vec<u8>)>,
    /// What one of them says.
    settings: Option<Settings>,
    /// What the user should know.
    pub(crate) warnings: Vec<String>,
}

impl Bundle {
    /// Gathers the files of a checkpoint.
    pub(crate) fn of_checkpoint(checkpoint: &Checkpoint, model_version: &str, asked: &Recommended) -> Result<Self> {
        let own = settings::recommended(checkpoint)?.unwrap_or_default();
        let recommended = Some(asked.clone().or(own)).filter(|all| *all != Recommended::default());
        let family = checkpoint.family();
        let mut bundle = Self::default();
        // The first lies where Apple's Swift package looks for it.
        bundle.add_tokenizer(checkpoint, family.spec().tokenizers[0])?;
        if family.spec().tokenizers.contains(&SECOND) && family.spec().tokenizers[0] != SECOND {
            bundle.add_second_tokenizer(checkpoint)?;
        }
        if family.spec().tokenizers.contains(&THIRD) {
            bundle.add_third_tokenizer(checkpoint)?;
        }
        bundle.warn_of_tokenizers(checkpoint)?;
        let prediction_type = bundle.add_scheduler(&Below { files: checkpoint, folder: family.spec().scheduler })?;
        let vae = json_if_present(checkpoint, "vae/config.json")?.unwrap_or_default();
        let vae = ["scaling_factor", "shift_factor"].map(|key| (key.to_owned(), vae[key].clone()));
        let vae = vae.into_iter().filter(|(_, value)| !value.is_null()).collect();
        let feature_extractor = json_if_present(checkpoint, "feature_extractor/preprocessor_config.json")?;
        let mut settings =
            Settings::of(checkpoint, model_version, prediction_type, vae, feature_extractor, recommended);
        settings.force_zeros_for_empty_prompt = force_zeros(checkpoint)?;
        if let Some(json) = &settings.feature_extractor {
            bundle.warnings.extend(fit::feature_extractor(checkpoint, json));
        }
        if let Some(what) = fit::other_unet(checkpoint)? {
            bundle.warnings.push(format!("generate will refuse the packages: the UNet {what}"));
        }
        let mut json = serde_json::to_vec_pretty(&settings)?;
        json.push(b'\n');
        bundle.files.push((SETTINGS_FILE.to_owned(), json));
        bundle.settings = Some(settings);
        Ok(bundle)
    }

    fn add_tokenizer(&mut self, checkpoint: &Checkpoint, folder: &str) -> Result<()> {
        let files = Below { files: checkpoint, folder };
        for name in TOKENIZER_FILES {
            if let Some(bytes) = files.read(name, MAX_BYTES)? {
                self.files.push((name.to_owned(), bytes));
            }
        }
        if self.file(VOCAB_FILE).is_some() && self.file(MERGES_FILE).is_some() {
            return Ok(());
        }
        let Some(json) = self.file(TOKENIZER_JSON) else {
            self.warnings.push("the checkpoint has no tokenizer; generate will need --tokenizer".to_owned());
            return Ok(());
        };
        let derived = vocab_and_merges(json);
        let (vocab, merges) =
            derived.with_context(|| format!("{} is not CLIP's", files.place(TOKENIZER_JSON).display()))?;
        self.files.retain(|(name, _)| name != VOCAB_FILE && name != MERGES_FILE);
        self.files.push((VOCAB_FILE.to_owned(), vocab));
        self.files.push((MERGES_FILE.to_owned(), merges));
        Ok(())
    }

    /// Takes what the second tokenizer has of its own: its vocabulary is usually the first one's.
    fn add_second_tokenizer(&mut self, checkpoint: &Checkpoint) -> Result<()> {
        let files = Below { files: checkpoint, folder: SECOND };
        let first = Below { files: checkpoint, folder: checkpoint.family().spec().tokenizers[0] };
        let mut has_own_vocabulary = false;
        for name in VOCABULARY_FILES {
            has_own_vocabulary |= files.has(name) && files.read(name, MAX_BYTES)? != first.read(name, MAX_BYTES)?;
        }
        for name in TOKENIZER_FILES {
            let is_own = has_own_vocabulary || !VOCABULARY_FILES.contains(&name);
            if let Some(bytes) = files.read(name, MAX_BYTES)?.filter(|_| is_own) {
                self.files.push((format!("{SECOND}/{name}"), bytes));
            }
        }
        Ok(())
    }

    /// Takes T5's tokenizer, which is of another kind.
    fn add_third_tokenizer(&mut self, checkpoint: &Checkpoint) -> Result<()> {
        let files = Below { files: checkpoint, folder: THIRD };
        for name in T5_FILES {
            if let Some(bytes) = files.read(name, MAX_BYTES)? {
                self.files.push((format!("{THIRD}/{name}"), bytes));
            }
        }
        Ok(())
    }

    /// Says what the user should know of the tokenizers.
    fn warn_of_tokenizers(&mut self, checkpoint: &Checkpoint) -> Result<()> {
        let family = checkpoint.family();
        if self.files.is_empty() {
            return Ok(());
        }
        match PipelineConfig::tokenizers_of(family, checkpoint, None) {
            Ok(tokenizers) => {
                for warning in tokenizers.iter().flat_map(ClipTokenizer::warnings).map(ToString::to_string) {
                    if !self.warnings.contains(&warning) {
                        self.warnings.push(warning);
                    }
                }
                self.warnings.extend(fit::ids_beyond(checkpoint, family, &tokenizers)?);
            }
            Err(error) => {
                let place = Below { files: checkpoint, folder: family.spec().tokenizers[0] }.place("");
                self.warnings.push(format!("generate will need --tokenizer: {}: {error}", place.display()));
            }
        }
        Ok(())
    }

    /// Takes the scheduler's configuration as it is, and returns what the model predicts.
    fn add_scheduler(&mut self, files: &dyn NamedFiles) -> Result<Option<String>> {
        let Some(text) = files.read_text(SCHEDULER_FILE, MAX_BYTES)? else {
            self.warnings.push("the checkpoint has no scheduler; Stable Diffusion 1.x's own is assumed".to_owned());
            return Ok(None);
        };
        let prediction = match SchedulerConfig::from_json(&text) {
            Ok(config) => {
                self.warnings.extend(config.warnings.iter().map(ToString::to_string));
                self.warnings.extend(fit::scheduler(&config));
                Some(config.prediction_type.word().to_owned())
            }
            Err(error) => {
                let place = files.place(SCHEDULER_FILE);
                self.warnings.push(format!("{} cannot be used by generate: {error}", place.display()));
                None
            }
        };
        self.files.push((SCHEDULER_FILE.to_owned(), text.into_bytes()));
        Ok(prediction)
    }

    fn file(&self, name: &str) -> Option<&[u8]> {
        self.files.iter().find(|(n, _)| n == name).map(|(_, bytes)| &bytes[..])
    }

    /// Files that are there already with other content.
    pub(crate) fn conflicts(&self, dir: &Path) -> Vec<PathBuf> {
        let is_other = |name: &str, path: &Path, bytes: &[u8]| {
            path.is_file() && !holds(path, bytes) && !(name == SETTINGS_FILE && self.is_of_same_model(dir))
        };
        let files = self.files.iter().map(|(name, bytes)| (name, dir.join(name), bytes));
        files.filter(|(name, path, bytes)| is_other(name, path, bytes)).map(|(_, path, _)| path).collect()
    }

    /// Whether the settings in a folder say the same of the model, whatever is known there of the files that it came from.
    fn is_of_same_model(&self, dir: &Path) -> bool {
        let there = Settings::read(dir).ok().flatten();
        there.zip(self.settings.as_ref()).is_some_and(|(there, own)| own.is_same_model(&there))
    }

    /// Names the files that are to be written; those with the same content stay untouched.
    pub(crate) fn outputs(&self, dir: &Path, outputs: &mut Outputs) -> Result<Writes> {
        let missing: Vec<&str> = self
            .files
            .iter()
            .filter(|(name, bytes)| !holds(&dir.join(name), bytes))
            .map(|(name, _)| name.as_str())
            .collect();
        let below: BTreeSet<&str> = missing.iter().filter_map(|name| Some(name.rsplit_once('/')?.0)).collect();
        let folders = below.into_iter().map(|folder| Ok(outputs.folder("-o", &dir.join(folder))?));
        let folders = folders.collect::<Result<_>>()?;
        let files = missing.into_iter().map(|name| Ok((name.to_owned(), outputs.file("-o", &dir.join(name))?)));
        Ok(Writes { folders, files: files.collect::<Result<_>>()? })
    }

    /// Writes these files.
    pub(crate) fn write(&self, writes: &mut Writes, watch: &mut dyn Watch) -> Result<()> {
        writes.folders.iter_mut().try_for_each(OutputFolder::make)?;
        for (name, output) in &writes.files {
            let bytes = self.file(name).unwrap_or_default();
            write_file(output, watch, |out| Ok(out.write_all(bytes)?))?;
        }
        Ok(())
    }

    /// Names of the files.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.files.iter().map(|(name, _)| name.as_str())
    }
}

/// Files that are to be written, by name, and the folders that some of them need.
#[derive(Debug)]
pub(crate) struct Writes {
    folders: Vec<OutputFolder>,
    files: Vec<(String, OutputFile)>,
}

/// What a checkpoint of XL says of a negative prompt that is not given.
fn force_zeros(checkpoint: &Checkpoint) -> Result<Option<bool>> {
    let is_heeded = matches!(checkpoint.family(), Family::Sdxl | Family::SdxlRefiner);
    let index = json_if_present(checkpoint, "model_index.json")?.filter(|_| is_heeded);
    Ok(index.and_then(|index| index["force_zeros_for_empty_prompt"].as_bool()))
}

/// Whether a regular file has this content; a pipe is not read, for it may have none for ever.
fn holds(path: &Path, bytes: &[u8]) -> bool {
    path.is_file() && std::fs::read(path).is_ok_and(|there| there == bytes)
}

/// Both files of transformers 4 from the one file of transformers 5.
///
/// Special tokens that stand only among the added ones join the vocabulary, where Apple's Swift package looks for them.
fn vocab_and_merges(tokenizer_json: &[u8]) -> Result<(Vec<u8>, Vec<u8>)> {
    let json: Value = serde_json::from_slice(tokenizer_json)?;
    let part = |value: &Value, what: &str| refusal!("{what} is {value}, which cannot be right");
    let vocab = &json["model"]["vocab"];
    let mut vocab = vocab.as_object().cloned().ok_or_else(|| part(vocab, "model.vocab"))?;
    for token in json["added_tokens"].as_array().into_iter().flatten() {
        let (content, id) = (&token["content"], &token["id"]);
        let content = content.as_str().ok_or_else(|| part(content, "content of an added token"))?;
        if id.is_u64() && !vocab.contains_key(content) {
            vocab.insert(content.to_owned(), id.clone());
        }
    }
    let merges = &json["model"]["merges"];
    let merges = merges.as_array().ok_or_else(|| part(merges, "model.merges"))?;
    let mut lines = String::from("#version: 0.2\n");
    for merge in merges {
        let pair = || Some(format!("{} {}", merge[0].as_str()?, merge[1].as_str()?));
        let line = merge.as_str().map(str::to_owned).or_else(pair).ok_or_else(|| part(merge, "a merge"))?;
        lines.push_str(&line);
        lines.push('\n');
    }
    Ok((serde_json::to_vec(&vocab)?, lines.into_bytes()))
}

/// What a directory of packages says beside its models.
pub(crate) struct Companions {
    pub(crate) config: PipelineConfig,
    /// Name of the model, if the directory says it.
    pub(crate) model_version: Option<String>,
    /// What the user should know.
    pub(crate) warnings: Vec<String>,
}

impl Companions {
    /// Reads what stands beside packages; the tokenizer may be elsewhere, and all else has Stable Diffusion 1.x's defaults.
    ///
    /// `is_own` says whether the family is that of the directory, and not a refiner's among the packages of XL, of which
    /// `smelt.json` says nothing.
    pub(crate) fn read(dir: &Path, (family, is_own): (Family, bool), tokenizer: Option<&Path>) -> Result<Self> {
        let mut warnings = Vec::new();
        let tokenizers = read_tokenizers(dir, family, tokenizer)?;
        let scheduler = match safe_files::read_text_if_present(&dir.join(SCHEDULER_FILE), MAX_BYTES)? {
            Some(text) => SchedulerConfig::from_json(&text)?.for_latents(),
            None => {
                warnings.push(format!(
                    "{} has no {SCHEDULER_FILE}; the noise schedule of Stable Diffusion 1.x is assumed",
                    dir.display()
                ));
                SchedulerConfig::stable_diffusion()
            }
        };
        let settings = Settings::read(dir)?;
        let (mut vae, mut preprocessor) = (VaeConfig::of_family(family), PreprocessorConfig::default());
        let mut zeros_without_negative = PipelineConfig::zeros_of_family(family);
        if let Some(settings) = &settings {
            vae = serde_json::from_value(Value::Object(settings.vae.clone())).context("smelt.json: vae")?;
            if let Some(json) = &settings.feature_extractor {
                preprocessor = fit::preprocessor(json).context("smelt.json: feature_extractor")?;
            }
            if let Some(zeros) = settings.force_zeros_for_empty_prompt.filter(|_| is_own) {
                zeros_without_negative = zeros;
            }
        }
        vae.check()?;
        let t5 = read_t5(dir)?;
        let decoder = None;
        let config =
            PipelineConfig { family, tokenizers, t5, scheduler, vae, decoder, preprocessor, zeros_without_negative };
        Ok(Self { config, model_version: settings.map(|s| named(&s.model_version, &s.loras)), warnings })
    }
}

/// T5's tokenizer, where it stands beside the packages.
fn read_t5(dir: &Path) -> Result<Option<T5Tokenizer>> {
    let place = dir.join(THIRD);
    let is_there = T5_FILES.iter().any(|name| place.join(name).is_file());
    is_there.then(|| T5Tokenizer::from_dir(&place)).transpose().with_context(|| place.display().to_string())
}

fn read_tokenizers(dir: &Path, family: Family, given: Option<&Path>) -> Result<Vec<ClipTokenizer>> {
    let hint = || match given {
        Some(given) => format!("cannot read the tokenizer in {}", given.display()),
        None => format!(
            "{} holds no usable tokenizer; give the tokenizer folder of the checkpoint with --tokenizer",
            dir.display()
        ),
    };
    PipelineConfig::tokenizers_of(family, &Folder(dir), given).with_context(hint)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watch::Unwatched;

    fn demo_bundle() -> Bundle {
        Bundle::of_checkpoint(&Checkpoint::open(testkit::demo()).unwrap(), "sd-emoji", &Recommended::default()).unwrap()
    }

    fn write(bundle: &Bundle, dir: &Path) {
        bundle.write(&mut bundle.outputs(dir, &mut Outputs::new()).unwrap(), &mut Unwatched).unwrap();
    }

    #[test]
    fn a_written_bundle_is_read_back_as_the_checkpoint_was() {
        let dir = tempfile::tempdir().unwrap();
        write(&demo_bundle(), dir.path());
        let beside = Companions::read(dir.path(), (Family::Sd, true), None).unwrap();
        let checkpoint = PipelineConfig::from_dir(&testkit::demo()).unwrap();
        assert_eq!(beside.model_version.as_deref(), Some("sd-emoji"));
        assert_eq!(beside.config.vae, checkpoint.vae);
        assert_eq!(beside.config.preprocessor, checkpoint.preprocessor);
        assert_eq!(format!("{:?}", beside.config.scheduler), format!("{:?}", checkpoint.scheduler));
        let text = "a red heart, 2 cats!";
        assert_eq!(beside.config.tokenizer().ids(text).unwrap(), checkpoint.tokenizer().ids(text).unwrap());
        assert!(beside.warnings.is_empty());
    }

    #[test]
    fn equal_files_are_no_conflict_and_others_are() {
        let dir = tempfile::tempdir().unwrap();
        let bundle = demo_bundle();
        assert!(bundle.conflicts(dir.path()).is_empty());
        write(&bundle, dir.path());
        assert!(bundle.conflicts(dir.path()).is_empty());
        std::fs::write(dir.path().join(MERGES_FILE), "other").unwrap();
        assert_eq!(bundle.conflicts(dir.path()), [dir.path().join(MERGES_FILE)]);
    }

    #[test]
    fn one_file_of_transformers_5_becomes_both_of_transformers_4() {
        let demo = testkit::demo().join("tokenizer");
        let read = |name: &str| std::fs::read(demo.join(name)).unwrap();
        let (vocab, merges) = vocab_and_merges(&read(TOKENIZER_JSON)).unwrap();
        let parse = |json: &[u8]| serde_json::from_slice::<std::collections::BTreeMap<String, u32>>(json).unwrap();
        assert_eq!(parse(&vocab), parse(&read(VOCAB_FILE)));
        let lines = |text: &[u8]| -> Vec<String> {
            let text = std::str::from_utf8(text).unwrap();
            text.lines().filter(|l| !l.starts_with("#version")).map(str::to_owned).collect()
        };
        assert_eq!(lines(&merges), lines(&read(MERGES_FILE)));
        for broken in ["{}", "[", r#"{"model": {"vocab": {}, "merges": [1]}}"#] {
            assert!(vocab_and_merges(broken.as_bytes()).is_err(), "{broken}");
        }
    }

    /// A copy of the demo's small files, with changes.
    fn checkpoint(changes: &[(&str, Value)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let tokenizer = |name: &str| format!("tokenizer/{name}");
        let names = [VOCAB_FILE, MERGES_FILE, "tokenizer_config.json"].map(tokenizer);
        let others = ["scheduler/scheduler_config.json", "unet/config.json", "vae/config.json"].map(str::to_owned);
        for name in names.iter().chain(&others) {
            let target = dir.path().join(name);
            std::fs::create_dir_all(target.parent().unwrap()).unwrap();
            std::fs::copy(testkit::demo().join(name), target).unwrap();
        }
        for (name, content) in changes {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            let mut json = json_if_present(&Folder(dir.path()), name).unwrap().unwrap_or_else(|| serde_json::json!({}));
            for (key, value) in content.as_object().unwrap() {
                json[key] = value.clone();
            }
            std::fs::write(path, json.to_string()).unwrap();
        }
        dir
    }

    #[test]
    fn added_tokens_are_taken_and_read_back() {
        let added = ("tokenizer/added_tokens.json", serde_json::json!({"<cat-toy>": 4096}));
        let source = checkpoint(&[added]);
        let bundle =
            Bundle::of_checkpoint(&Checkpoint::open(source.path()).unwrap(), "x", &Recommended::default()).unwrap();
        assert!(bundle.warnings.is_empty(), "{:?}", bundle.warnings);
        let dir = tempfile::tempdir().unwrap();
        write(&bundle, dir.path());
        let beside = Companions::read(dir.path(), (Family::Sd, true), None).unwrap();
        assert_eq!(beside.config.tokenizer().ids("<cat-toy>").unwrap(), [4096]);
    }

    #[track_caller]
    fn check_warning(name: &str, change: Value, facts: &[&str]) {
        let source = checkpoint(&[(name, change)]);
        let bundle =
            Bundle::of_checkpoint(&Checkpoint::open(source.path()).unwrap(), "x", &Recommended::default()).unwrap();
        let [warning] = &bundle.warnings[..] else { panic!("{:?}", bundle.warnings) };
        assert!(facts.iter().all(|fact| warning.contains(fact)), "{warning}");
    }

    #[test]
    fn what_generate_will_not_take_is_said_when_packages_are_made() {
        let scheduler = "scheduler/scheduler_config.json";
        let of_class = |class: &str| serde_json::json!({"_class_name": class});
        check_warning(
            scheduler,
            of_class("DPMSolverMultistepInverseScheduler"),
            &["--scheduler NAME", "dpmpp-2m is the nearest"],
        );
        check_warning(scheduler, of_class("ScoreSdeVeScheduler"), &["generate cannot draw", "flow matching"]);
        check_warning(scheduler, serde_json::json!({"_class_name": ""}), &["--scheduler NAME", "no _class_name"]);
        check_warning(scheduler, serde_json::json!({"beta_strat": 1}), &[SCHEDULER_FILE, "beta_strat"]);
        check_warning(
            scheduler,
            serde_json::json!({"prediction_type": "flow"}),
            &["cannot be used by generate", "flow"],
        );
        check_warning("tokenizer/tokenizer_config.json", serde_json::json!({"pad_tokn": "!"}), &["pad_tokn"]);
        let beyond = serde_json::json!({"vocab_size": 4000});
        check_warning("text_encoder/config.json", beyond, &["ids up to 4095", "4000 only", "padding"]);
        let t5 = serde_json::json!({"tokenizer_class": "T5Tokenizer"});
        check_warning("tokenizer/tokenizer_config.json", t5, &["--tokenizer", "T5Tokenizer"]);
        check_warning("unet/config.json", serde_json::json!({"in_channels": 5}), &["guided by depth (5 channels"]);
        check_warning("unet/config.json", serde_json::json!({"in_channels": 7}), &["upscaler (7 channels"]);
        let preprocessor = "feature_extractor/preprocessor_config.json";
        check_warning(preprocessor, serde_json::json!({"do_resise": true}), &["do_resise"]);
    }

    #[test]
    fn packages_without_companions_ask_for_a_tokenizer() {
        let dir = tempfile::tempdir().unwrap();
        let Err(error) = Companions::read(dir.path(), (Family::Sd, true), None) else { panic!("no tokenizer") };
        assert!(error.to_string().contains("--tokenizer"), "{error}");
        let beside =
            Companions::read(dir.path(), (Family::Sd, true), Some(&testkit::demo().join("tokenizer"))).unwrap();
        assert_eq!(beside.config.vae, VaeConfig::default());
        assert_eq!(beside.warnings.len(), 1);
    }
}

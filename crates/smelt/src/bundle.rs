//! What stands beside the packages so that a directory of them draws pictures on its own.
//!
//! | file | what | for whom |
//! |---|---|---|
//! | `vocab.json`, `merges.txt` | CLIP's byte pairs | Smelt, and Apple's Swift package |
//! | `tokenizer.json`, `tokenizer_config.json`, `special_tokens_map.json`, `added_tokens.json` | special and added tokens, padding | Smelt |
//! | `scheduler_config.json` | the noise schedule, as the checkpoint has it | Smelt |
//! | `smelt.json` | [`Settings`]: what else the models do not say of themselves | Smelt |
//!
//! Weights are not here, and nothing is interpreted beyond what must be.

use std::path::{Path, PathBuf};

use safe_files::{Below, NamedFiles, OutputFile, Outputs};
use sd_checkpoint::{Applied, Checkpoint};
use sd_runtime::pipeline::{PipelineConfig, PreprocessorConfig, VaeConfig};
use sd_runtime::scheduler::SchedulerConfig;
use sd_runtime::tokenizer::ClipTokenizer;
use sd_spec::Family;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::error::{Context, Result, refusal, refuse};
use crate::file::json_if_present;
use crate::fit;
use crate::loras::named;
use crate::watch::{Watch, write_file};

/// File of the settings.
pub(crate) const SETTINGS_FILE: &str = "smelt.json";
/// Version of its form.
const FORMAT: u32 = 1;
const SCHEDULER_FILE: &str = "scheduler_config.json";
const VOCAB_FILE: &str = "vocab.json";
const MERGES_FILE: &str = "merges.txt";
const TOKENIZER_JSON: &str = "tokenizer.json";
/// Files of a tokenizer that are taken as they are.
const TOKENIZER_FILES: [&str; 6] =
    [VOCAB_FILE, MERGES_FILE, TOKENIZER_JSON, "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"];
/// Cap on each file; CLIP's own are below 4 MB.
const MAX_BYTES: u64 = 64 << 20;

/// What the models of a checkpoint do not say of themselves.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Settings {
    /// Version of this form.
    format: u32,
    /// Name of the model.
    pub(crate) model_version: String,
    /// What the UNet predicts, as diffusers spells it.
    prediction_type: Option<String>,
    /// `scaling_factor` and `shift_factor` of the autoencoder.
    #[serde(default)]
    vae: Map<String, Value>,
    /// The checkpoint's `preprocessor_config.json`, for the safety checker.
    #[serde(default)]
    feature_extractor: Option<Value>,
    /// Whose autoencoder it is, where it is not the checkpoint's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    vae_of: Option<String>,
    /// LoRAs that are in the weights.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) loras: Vec<Applied>,
}

/// The files to be written, by name.
#[derive(Debug, Default)]
pub(crate) struct Bundle {
    files: Vec<(String, Vec<u8>)>,
    /// What the user should know.
    pub(crate) warnings: Vec<String>,
}

impl Bundle {
    /// Gathers the files of a checkpoint.
    pub(crate) fn of_checkpoint(checkpoint: &Checkpoint, model_version: &str) -> Result<Self> {
        let family = checkpoint.family();
        let mut bundle = Self::default();
        // All tokenizers of a family have one vocabulary.
        bundle.add_tokenizer(checkpoint, family.spec().tokenizers[0])?;
        let prediction_type = bundle.add_scheduler(&Below { files: checkpoint, folder: family.spec().scheduler })?;
        let vae = json_if_present(checkpoint, "vae/config.json")?.unwrap_or_default();
        let vae = ["scaling_factor", "shift_factor"].map(|key| (key.to_owned(), vae[key].clone()));
        let settings = Settings {
            format: FORMAT,
            model_version: model_version.to_owned(),
            prediction_type,
            vae: vae.into_iter().filter(|(_, value)| !value.is_null()).collect(),
            feature_extractor: json_if_present(checkpoint, "feature_extractor/preprocessor_config.json")?,
            vae_of: checkpoint.vae_name().map(str::to_owned),
            loras: checkpoint.applied(),
        };
        if let Some(json) = &settings.feature_extractor {
            bundle.warnings.extend(fit::feature_extractor(checkpoint, json));
        }
        if let Some(what) = fit::other_family(family) {
            bundle.warnings.push(format!("generate will refuse the packages: {what}"));
        } else if let Some(what) = fit::other_unet(checkpoint)? {
            bundle.warnings.push(format!("generate will refuse the packages: the UNet {what}"));
        }
        let mut json = serde_json::to_vec_pretty(&settings)?;
        json.push(b'\n');
        bundle.files.push((SETTINGS_FILE.to_owned(), json));
        Ok(bundle)
    }

    fn add_tokenizer(&mut self, checkpoint: &Checkpoint, folder: &str) -> Result<()> {
        let files = Below { files: checkpoint, folder };
        for name in TOKENIZER_FILES {
            if let Some(bytes) = files.read(name, MAX_BYTES)? {
                self.files.push((name.to_owned(), bytes));
            }
        }
        if !self.files.is_empty() {
            match ClipTokenizer::from_files(&files) {
                Ok(tokenizer) => {
                    self.warnings.extend(tokenizer.warnings().iter().map(ToString::to_string));
                    self.warnings.extend(fit::ids_beyond(checkpoint, &tokenizer)?);
                }
                Err(error) => {
                    let place = files.place("");
                    self.warnings.push(format!("generate will need --tokenizer: {}: {error}", place.display()));
                }
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
        let is_other = |path: &Path, bytes: &[u8]| path.is_file() && !holds(path, bytes);
        let files = self.files.iter().map(|(name, bytes)| (dir.join(name), bytes));
        files.filter(|(path, bytes)| is_other(path, bytes)).map(|(path, _)| path).collect()
    }

    /// Names the files that are to be written; those with the same content stay untouched.
    pub(crate) fn outputs(&self, dir: &Path, outputs: &mut Outputs) -> Result<Vec<OutputFile>> {
        let missing = self.files.iter().filter(|(name, bytes)| !holds(&dir.join(name), bytes));
        missing.map(|(name, _)| Ok(outputs.file("-o", &dir.join(name))?)).collect()
    }

    /// Writes these files.
    pub(crate) fn write(&self, outputs: &[OutputFile], watch: &mut dyn Watch) -> Result<()> {
        for output in outputs {
            let name = output.path().file_name().and_then(|name| name.to_str()).unwrap_or_default();
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
    pub(crate) fn read(dir: &Path, family: Family, tokenizer: Option<&Path>) -> Result<Self> {
        let mut warnings = Vec::new();
        let tokenizer = read_tokenizer(dir, tokenizer)?;
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
        let (mut vae, mut preprocessor) = (VaeConfig::default(), PreprocessorConfig::default());
        if let Some(settings) = &settings {
            vae = serde_json::from_value(Value::Object(settings.vae.clone())).context("smelt.json: vae")?;
            if let Some(json) = &settings.feature_extractor {
                preprocessor = fit::preprocessor(json).context("smelt.json: feature_extractor")?;
            }
        }
        vae.check()?;
        let config = PipelineConfig { family, tokenizers: vec![tokenizer], scheduler, vae, preprocessor };
        Ok(Self { config, model_version: settings.map(|s| named(&s.model_version, &s.loras)), warnings })
    }
}

impl Settings {
    pub(crate) fn read(dir: &Path) -> Result<Option<Self>> {
        let path = dir.join(SETTINGS_FILE);
        let Some(bytes) = safe_files::read_if_present(&path, MAX_BYTES)? else { return Ok(None) };
        let settings: Self = serde_json::from_slice(&bytes).with_context(|| path.display().to_string())?;
        if settings.format != FORMAT {
            refuse!("{} has format {}; this version of smelt reads {FORMAT}", path.display(), settings.format);
        }
        Ok(Some(settings))
    }
}

fn read_tokenizer(dir: &Path, given: Option<&Path>) -> Result<ClipTokenizer> {
    let folder = dir.join("tokenizer");
    let place = given.unwrap_or(if folder.is_dir() { &folder } else { dir });
    let hint = || match given {
        Some(_) => format!("cannot read the tokenizer in {}", place.display()),
        None => format!(
            "{} holds no usable tokenizer; give the tokenizer folder of the checkpoint with --tokenizer",
            dir.display()
        ),
    };
    ClipTokenizer::from_dir(place).with_context(hint)
}

#[cfg(test)]
mod tests {
    use safe_files::Folder;

    use super::*;
    use crate::watch::Unwatched;

    fn demo_bundle() -> Bundle {
        Bundle::of_checkpoint(&Checkpoint::open(testkit::demo()).unwrap(), "sd-emoji").unwrap()
    }

    fn write(bundle: &Bundle, dir: &Path) {
        bundle.write(&bundle.outputs(dir, &mut Outputs::new()).unwrap(), &mut Unwatched).unwrap();
    }

    #[test]
    fn a_written_bundle_is_read_back_as_the_checkpoint_was() {
        let dir = tempfile::tempdir().unwrap();
        write(&demo_bundle(), dir.path());
        let beside = Companions::read(dir.path(), Family::Sd, None).unwrap();
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
            let mut json =
                json_if_present(&Folder(dir.path()), name).unwrap().unwrap_or_else(|| Value::Object(Map::new()));
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
        let bundle = Bundle::of_checkpoint(&Checkpoint::open(source.path()).unwrap(), "x").unwrap();
        assert!(bundle.warnings.is_empty(), "{:?}", bundle.warnings);
        let dir = tempfile::tempdir().unwrap();
        write(&bundle, dir.path());
        let beside = Companions::read(dir.path(), Family::Sd, None).unwrap();
        assert_eq!(beside.config.tokenizer().ids("<cat-toy>").unwrap(), [4096]);
    }

    #[track_caller]
    fn check_warning(name: &str, change: Value, facts: &[&str]) {
        let source = checkpoint(&[(name, change)]);
        let bundle = Bundle::of_checkpoint(&Checkpoint::open(source.path()).unwrap(), "x").unwrap();
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
        let Err(error) = Companions::read(dir.path(), Family::Sd, None) else { panic!("no tokenizer") };
        assert!(error.to_string().contains("--tokenizer"), "{error}");
        let beside = Companions::read(dir.path(), Family::Sd, Some(&testkit::demo().join("tokenizer"))).unwrap();
        assert_eq!(beside.config.vae, VaeConfig::default());
        assert_eq!(beside.warnings.len(), 1);
    }
}

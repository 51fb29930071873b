//! Facts about the tokenizer, on the demo checkpoint's vocabulary and on tiny ones.

use std::path::PathBuf;

use super::*;
use crate::prompt::Window;

/// A directory with the given files, removed when dropped.
struct Dir(PathBuf);

impl Dir {
    fn with(files: &[(&str, &str)]) -> Self {
        static COUNT: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
        let n = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("sd-runtime-tokenizer-{}-{n}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        for (name, text) in files {
            std::fs::write(dir.join(name), text).unwrap();
        }
        Self(dir)
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}

const VOCAB: &str = r###"{"!": 0, "a": 1, "b": 2, "!</w>": 3, "a</w>": 4, "b</w>": 5, "ab</w>": 6, "#": 7, "#</w>": 8, "##</w>": 9, "<|startoftext|>": 10, "<|endoftext|>": 11}"###;
const MERGES: &str = "#version: 0.2\na b</w>\n# #</w>\n";

fn tiny(extra: &[(&str, &str)]) -> Result<ClipTokenizer> {
    let mut files = vec![("vocab.json", VOCAB), ("merges.txt", MERGES)];
    files.extend_from_slice(extra);
    ClipTokenizer::from_dir(&Dir::with(&files).0)
}

#[test]
fn prompts_are_framed_and_padded_with_the_end_token() {
    let prompt = Window::of(&tiny(&[]).unwrap(), "AB  a\n## é", 9).unwrap();
    // é is not in this vocabulary: each of its two bytes is unknown.
    assert_eq!(prompt.ids, [10, 6, 4, 9, 11, 11, 11, 11, 11]);
    assert_eq!((prompt.n_tokens, prompt.truncated), (7, None));
}

#[test]
fn padding_with_an_exclamation_mark_makes_it_special() {
    // SD 2.x: transformers gives id 0 for every "!" in the text, not the id of "!</w>".
    let config = r#"{"pad_token": "!", "model_max_length": 77}"#;
    let tokenizer = tiny(&[("tokenizer_config.json", config)]).unwrap();
    assert_eq!(Window::of(&tokenizer, "a!!", 7).unwrap().ids, [10, 4, 0, 0, 11, 0, 0]);
    assert_eq!(tiny(&[]).unwrap().ids("a!").unwrap(), [4, 3]);
}

#[test]
fn special_tokens_inside_the_text_are_matched() {
    let tokenizer = tiny(&[]).unwrap();
    assert_eq!(tokenizer.ids("a<|endoftext|>b").unwrap(), [4, 11, 5]);
}

#[test]
fn long_prompts_keep_the_end_token_and_report_what_was_cut() {
    let tokenizer = tiny(&[]).unwrap();
    let prompt = Window::of(&tokenizer, "a b ab, a", 5).unwrap();
    assert_eq!(prompt.ids, [10, 4, 5, 6, 11]);
    let cut = prompt.truncated.unwrap();
    assert_eq!((cut.text.as_str(), cut.n_tokens), (", a", 2));
    let emoji = Window::of(&tokenizer, "a🙂🙂", 4).unwrap();
    assert_eq!(emoji.truncated.unwrap().text, "🙂🙂", "a cut inside a character moves to its start");
    let exact = Window::of(&tokenizer, "a b", 4).unwrap();
    assert_eq!(exact.truncated, None);
}

#[test]
fn the_window_is_the_smaller_of_model_and_file() {
    let config = r#"{"model_max_length": 4}"#;
    let tokenizer = tiny(&[("tokenizer_config.json", config)]).unwrap();
    assert_eq!(Window::of(&tokenizer, "a a a a", 6).unwrap().ids, [10, 4, 4, 11, 11, 11]);
    let unlimited = tiny(&[("tokenizer_config.json", r#"{"model_max_length": 1e30}"#)]).unwrap();
    assert_eq!(Window::of(&unlimited, "a a a a", 6).unwrap().ids, [10, 4, 4, 4, 4, 11]);
    assert!(Window::of(&unlimited, "a", 1).is_err());
}

#[test]
fn both_generations_of_files_give_the_same_ids() {
    let demo = testkit::demo().join("tokenizer");
    let read = |name: &str| std::fs::read_to_string(demo.join(name)).unwrap();
    let (vocab, merges, json) = (read("vocab.json"), read("merges.txt"), read("tokenizer.json"));
    let old = Dir::with(&[("vocab.json", &vocab), ("merges.txt", &merges)]);
    let new = Dir::with(&[("tokenizer.json", &json)]);
    let old = ClipTokenizer::from_dir(&old.0).unwrap();
    let new = ClipTokenizer::from_dir(&new.0).unwrap();
    assert_eq!((old.start_id(), old.end_id(), old.pad_id()), (4094, 4095, 4095));
    assert_eq!((new.start_id(), new.end_id(), new.pad_id()), (4094, 4095, 4095));
    for text in ["a red heart", "it's 8k, HDR!!", "café – naïve", "日本 🙂", "x <|endoftext|> y", "(word:1.2)"]
    {
        assert_eq!(old.ids(text).unwrap(), new.ids(text).unwrap(), "{text}");
    }
}

#[test]
fn merges_read_as_strings_or_pairs() {
    let json = |merges: &str| {
        format!(r#"{{"model": {{"type": "BPE", "end_of_word_suffix": "</w>", "vocab": {VOCAB}, "merges": {merges}}}}}"#)
    };
    for merges in [r##"["a b</w>", "# #</w>"]"##, r##"[["a", "b</w>"], ["#", "#</w>"]]"##] {
        let dir = Dir::with(&[("tokenizer.json", &json(merges))]);
        assert_eq!(ClipTokenizer::from_dir(&dir.0).unwrap().ids("ab ##").unwrap(), [6, 9]);
    }
}

#[test]
fn files_that_are_not_clips_are_named_errors() {
    let json = |model: &str| format!(r#"{{"added_tokens": [], "model": {model}}}"#);
    let t5 = json(r#"{"type": "Unigram", "vocab": {}, "merges": []}"#);
    let gpt2 = json(r#"{"type": "BPE", "vocab": {}, "merges": []}"#);
    let unframed = json(r#"{"type": "BPE", "end_of_word_suffix": "</w>", "vocab": {"a": 0}, "merges": []}"#);
    let broken_merge = json(r#"{"type": "BPE", "end_of_word_suffix": "</w>", "vocab": {}, "merges": ["a"]}"#);
    let unknown_merge = json(r#"{"type": "BPE", "end_of_word_suffix": "</w>", "vocab": {"a": 0}, "merges": ["a b"]}"#);
    for (json, fact) in [
        (t5.as_str(), "Unigram"),
        (&gpt2, "not CLIP's"),
        (&unframed, "<|endoftext|>"),
        (&broken_merge, "entry 1 is not a pair of tokens: \"a\""),
        (&unknown_merge, "`b` out of vocabulary"),
        ("{", "tokenizer.json"),
    ] {
        let dir = Dir::with(&[("tokenizer.json", json)]);
        let error = ClipTokenizer::from_dir(&dir.0).unwrap_err();
        assert!(error.to_string().contains(fact), "{error}");
    }
    let empty = Dir::with(&[]);
    let error = ClipTokenizer::from_dir(&empty.0).unwrap_err();
    assert!(error.to_string().contains("vocab.json"), "{error}");
}

#[track_caller]
fn check_refused(files: &[(&str, &str)], facts: &[&str]) {
    let error = tiny(files).unwrap_err().to_string();
    assert!(facts.iter().all(|fact| error.contains(fact)), "{error}");
}

#[test]
fn ids_that_contradict_one_another_are_refused() {
    let moved = r#"{"added_tokens_decoder": {"3": {"content": "<|endoftext|>"}}}"#;
    check_refused(&[("tokenizer_config.json", moved)], &["has id 3 in the files, but 11"]);
    let taken = r#"{"added_tokens_decoder": {"3": {"content": "<a>"}}}"#;
    check_refused(&[("tokenizer_config.json", taken)], &[r#""<a>" has id 3 in the files, which is that of "!</w>""#]);
    check_refused(&[("added_tokens.json", r#"{"<a>": 11}"#)], &["<a>", "id 11", "<|endoftext|>"]);
    check_refused(&[("added_tokens.json", r#"{"<a>": 12, "<b>": 12}"#)], &["<a>", "<b>", "12"]);
    check_refused(&[("added_tokens.json", r#"{"<a>": 4294967295}"#)], &["<a>", "4294967295", "beyond"]);
}

#[test]
fn what_no_tokenizer_of_clips_has_is_refused_by_name() {
    let config = "tokenizer_config.json";
    for (json, facts) in [
        (r#"{"tokenizer_class": "T5Tokenizer"}"#, ["tokenizer_class", "T5Tokenizer"]),
        (r#"{"tokenizer_class": "GemmaTokenizerFast"}"#, [config, "GemmaTokenizerFast"]),
        (r#"{"padding_side": "left"}"#, ["padding_side \"left\"", "only \"right\""]),
        (r#"{"truncation_side": "left"}"#, ["truncation_side", "left"]),
        (r#"{"bos_token": null}"#, ["bos_token", "null"]),
        (r#"{"model_max_length": 1}"#, ["model_max_length", "1"]),
        (r#"{"model_max_length": "77"}"#, ["model_max_length", "77"]),
        (r#"{"added_tokens_decoder": {"a": {"content": "x"}}}"#, ["added_tokens_decoder", "\"a\""]),
        (r#"{"added_tokens_decoder": {"12": "x"}}"#, ["added_tokens_decoder", "12"]),
        (r#"{"pad_token": 7}"#, ["pad_token", "7"]),
        (r#"{"additional_special_tokens": "x"}"#, ["additional_special_tokens", "list"]),
    ] {
        check_refused(&[(config, json)], &facts);
    }
    check_refused(&[("special_tokens_map.json", r#"{"padding_side": "left"}"#)], &["special_tokens_map.json", "left"]);
    let left = format!(
        r#"{{"padding": {{"direction": "Left"}}, "model": {{"end_of_word_suffix": "</w>", "vocab": {VOCAB}, "merges": []}}}}"#
    );
    check_refused(&[("tokenizer.json", &left)], &["padding", "Left"]);
}

#[track_caller]
fn check_warnings(files: &[(&str, &str)], wanted: &[&str]) {
    let warnings: Vec<String> = tiny(files).unwrap().warnings().iter().map(ToString::to_string).collect();
    assert_eq!(warnings, wanted);
}

#[test]
fn keys_that_nobody_defines_are_named() {
    check_warnings(
        &[("tokenizer_config.json", r#"{"errors": "replace", "name_or_path": "x", "use_fast": true}"#)],
        &[],
    );
    let two = ("tokenizer_config.json", r#"{"do_lower_cas": false, "chat_template": "x", "pad_tokn": "!"}"#);
    let said = "tokenizer_config.json: nothing is known of keys \"do_lower_cas\", \"pad_tokn\", which CLIPTokenizer does \
                not define; they have no effect";
    check_warnings(&[two], &[said]);
    let null = ("tokenizer_config.json", r#"{"pad_token": null}"#);
    check_warnings(
        &[null],
        &["tokenizer: pad_token is null, with which transformers cannot pad or encode; \"<|endoftext|>\" is taken"],
    );
    assert_eq!(tiny(&[null]).unwrap().pad_id(), 11);
}

#[test]
fn without_a_limit_in_the_files_there_is_none() {
    let limit = |json: &str| tiny(&[("tokenizer_config.json", json)]).unwrap().max_length();
    assert_eq!(limit("{}"), usize::MAX);
    assert_eq!(limit(r#"{"model_max_length": null}"#), usize::MAX);
    assert_eq!(limit(r#"{"max_len": 9}"#), 9);
    assert_eq!(limit(r#"{"max_len": 9, "model_max_length": 12}"#), 12);
    let map = tiny(&[("special_tokens_map.json", r#"{"model_max_length": 5}"#)]).unwrap();
    assert_eq!(map.max_length(), 5, "the map overrides any key");
}

#[test]
fn byte_order_marks_and_line_ends_of_windows_change_nothing() {
    let mark = |text: &str| format!("\u{feff}{}", text.replace('\n', "\r\n"));
    let config = mark(r#"{"pad_token": "<|endoftext|>", "model_max_length": 77}"#);
    let (vocab, merges) = (mark(VOCAB), mark(MERGES));
    let map = mark(r#"{"pad_token": "!"}"#);
    let added = mark(r#"{"<a>": 12}"#);
    let files = [
        ("vocab.json", vocab.as_str()),
        ("merges.txt", &merges),
        ("tokenizer_config.json", &config),
        ("special_tokens_map.json", &map),
        ("added_tokens.json", &added),
    ];
    let tokenizer = ClipTokenizer::from_dir(&Dir::with(&files).0).unwrap();
    assert_eq!(Window::of(&tokenizer, "ab ## <A> !", 9).unwrap().ids, [10, 6, 9, 12, 0, 11, 0, 0, 0]);
}

#[test]
fn a_learned_word_stands_for_all_its_vectors() {
    let added = r#"{"<X>": 12, "<X>_1": 13, "<X>_2": 14, "<X>_4": 16, "y": 15}"#;
    let tokenizer = tiny(&[("added_tokens.json", added)]).unwrap();
    assert_eq!(tokenizer.ids("a <X> <x>b").unwrap(), [4, 12, 13, 14, 12, 13, 14, 5]);
    // One of them by its own name is that one.
    assert_eq!(tokenizer.ids("<X>_1 <x>_4 y").unwrap(), [13, 16, 15]);
    let prompt = Window::of(&tokenizer, "a <X>", 5).unwrap();
    assert_eq!(prompt.ids, [10, 4, 12, 13, 11]);
    assert_eq!(prompt.truncated.map(|cut| (cut.text, cut.n_tokens)), Some(("<X>".to_owned(), 1)));
}

#[test]
fn pointers_of_git_lfs_are_named_with_what_to_do() {
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n";
    for name in ["vocab.json", "merges.txt", "tokenizer.json", "tokenizer_config.json", "added_tokens.json"] {
        check_refused(&[(name, pointer)], &[name, "Git LFS pointer", "git lfs pull"]);
    }
}

#[test]
fn hostile_tokenizer_files_never_panic() {
    let json = format!(
        r#"{{"added_tokens": [{{"id": 11, "content": "<|endoftext|>", "normalized": true}}], "model": {{"type": "BPE", "end_of_word_suffix": "</w>", "vocab": {VOCAB}, "merges": ["a b</w>"]}}}}"#
    );
    let calls = testkit::fuzz::run_for(std::time::Duration::from_millis(500), &[json.as_bytes()], |bytes| {
        let files = TokenizerFiles::from_tokenizer_json(&String::from_utf8_lossy(bytes));
        if let Ok(tokenizer) = files.and_then(ClipTokenizer::build) {
            Window::of(&tokenizer, "a b, AB!! <|endoftext|> \u{301}é🙂", 8).ok();
        }
    });
    assert!(calls > 100, "{calls} calls");
}

#[test]
fn hostile_configurations_never_panic() {
    let config = r##"{"pad_token": "!", "additional_special_tokens": ["<a>", {"content": "<b>", "lstrip": true}], "image_token": "#",
        "extra_special_tokens": {"x": "<c>"}, "model_max_length": 1e30, "split_special_tokens": false,
        "added_tokens_decoder": {"12": {"content": "<a>", "special": false}, "4294967295": {"content": "<d>"}}}"##;
    let map = r#"{"pad_token": {"content": "!", "normalized": true}, "unk_token": "", "sep_token": "[SEP]", "cls_token": null}"#;
    let both = [config, map].map(str::as_bytes);
    let calls = testkit::fuzz::run_for(std::time::Duration::from_millis(500), &both, |bytes| {
        let Ok(object) = serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(bytes) else { return };
        let added = [("<e>".to_owned(), 12), ("<|endoftext|>".to_owned(), 11)].into();
        for sources in [
            special::Sources { config: object.clone(), ..Default::default() },
            special::Sources { map: object, added, ..Default::default() },
        ] {
            if let Ok(tokenizer) = TokenizerFiles::from_texts(VOCAB, MERGES, sources).and_then(ClipTokenizer::build) {
                Window::of(&tokenizer, "a <A> <b>, [SEP] #!! <|endoftext|> \u{301}é🙂", 8).ok();
            }
        }
    });
    assert!(calls > 100, "{calls} calls");
}

//! What is fetched, where it lies, and that nothing whole is fetched twice.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod made;

use std::fs;

use made::{Made, UNET, VAE, names, only};
use sd_checkpoint::hub::Cache;
use sd_hub::{Extent, Hub, HubError, Settings, Wanted};
use sd_spec::Role;
use testkit::hub::{COMMIT, ID};

#[test]
fn what_is_needed_lies_where_huggingface_hub_puts_it() {
    let mut made = Made::pipeline();
    let fetched = made.fetch(&Wanted::default()).unwrap();
    let snapshot = made.repository().join("snapshots").join(COMMIT);
    assert_eq!((fetched.path.as_path(), fetched.commit.as_str()), (snapshot.as_path(), COMMIT));
    let found: Vec<&str> = fetched.files.iter().map(|file| file.name.as_str()).collect();
    assert_eq!(found, ["model_index.json", "unet/config.json", UNET, "vae/config.json", VAE]);
    for file in &fetched.files {
        assert_eq!(fs::read(&file.path).unwrap(), Made::expected(&file.name));
        assert_eq!(fs::read(made.blob(&file.name)).unwrap(), Made::expected(&file.name));
        #[cfg(unix)]
        {
            let up = if file.name.contains('/') { "../../../blobs/" } else { "../../blobs/" };
            let link = fs::read_link(&file.path).unwrap();
            assert_eq!(link.to_string_lossy(), format!("{up}{}", made.server.etag(&file.name)));
        }
    }
    assert_eq!(fs::read_to_string(made.repository().join("refs/main")).unwrap(), COMMIT);
    assert_eq!(names(&made.repository().join("blobs")).len(), 5, "nothing else is left");
    let lock = made.dir.path().join("hub/.locks/models--someone--model");
    assert!(lock.join(format!("{}.lock", made.server.etag(UNET))).is_file());
    assert_eq!(made.found.last(), Some(&(5, 4, 1_000_016)), "the index came first");
}

#[test]
fn nothing_whole_is_fetched_twice() {
    let mut made = Made::pipeline();
    made.fetch(&Wanted::default()).unwrap();
    drop(made.server.requests());
    let fetched = made.fetch(&Wanted::default()).unwrap();
    assert_eq!(fetched.n_fetched_bytes, 0);
    assert!(fetched.files.iter().all(|file| !file.is_new));
    let asked: Vec<String> = made.server.requests().into_iter().map(|request| request.target).collect();
    assert_eq!(asked, [format!("/api/models/{ID}/revision/main?blobs=true")]);
    // Another name for a blob that is there is a link, and no download.
    fs::remove_dir_all(made.repository().join("snapshots")).unwrap();
    let fetched = made.fetch(&Wanted::default()).unwrap();
    assert_eq!((fetched.n_fetched_bytes, made.server.requests().len()), (0, 1));
    assert_eq!(fs::read(fetched.path.join(UNET)).unwrap(), Made::expected(UNET));
    // A file without a blob, as it lies where there are no links, is whole too.
    let path = fetched.path.join(VAE);
    fs::remove_file(&path).unwrap();
    fs::rename(made.blob(VAE), &path).unwrap();
    assert_eq!(made.fetch(&Wanted::default()).unwrap().n_fetched_bytes, 0);
}

#[test]
fn a_blob_of_another_length_is_fetched_anew() {
    let mut made = Made::pipeline();
    made.fetch(&only(UNET)).unwrap();
    fs::write(made.blob(UNET), "cut").unwrap();
    let fetched = made.fetch(&only(UNET)).unwrap();
    assert_eq!(fs::read(fetched.path).unwrap(), Made::expected(UNET));
}

#[test]
fn a_path_is_just_that_file_and_all_is_everything() {
    let mut made = Made::pipeline();
    let name = "all in one.safetensors";
    let fetched = made.fetch_at(Some(COMMIT), &only(name)).unwrap();
    assert_eq!(fs::read(&fetched.path).unwrap(), Made::expected(name));
    assert_eq!(fetched.files.len(), 1);
    assert!(!made.repository().join("refs").exists(), "a commit stands for itself");
    let all = Wanted { extent: Extent::All, ..Wanted::default() };
    assert_eq!(made.fetch(&all).unwrap().files.len(), made::pipeline().len());
}

#[test]
fn variants_and_components_choose() {
    let mut made = Made::pipeline();
    let wanted = Wanted { variant: Some("fp16".into()), roles: vec![Role::UNet], ..Wanted::default() };
    let fetched = made.fetch(&wanted).unwrap();
    let found: Vec<&str> = fetched.files.iter().map(|file| file.name.as_str()).collect();
    let half = "unet/diffusion_pytorch_model.fp16.safetensors";
    assert_eq!(found, ["model_index.json", "unet/config.json", half, "vae/config.json"]);
}

#[test]
fn the_cache_alone_gives_what_was_fetched_and_says_what_was_not() {
    let mut made = Made::pipeline();
    let find = |settings: &Settings, wanted: &Wanted| Hub::find(settings, ID, None, wanted);
    let error = find(&made.settings, &Wanted::default()).unwrap_err();
    assert!(matches!(error, HubError::Offline(_)), "{error}");
    assert!(error.to_string().contains("hf:someone/model: it is not in the cache"), "{error}");
    assert!(error.to_string().contains("smelt download hf:someone/model, without --offline"), "{error}");
    made.fetch(&Wanted { roles: vec![Role::UNet], ..Wanted::default() }).unwrap();
    let error = find(&made.settings, &Wanted::default()).unwrap_err().to_string();
    assert!(error.contains("no weights of vae"), "{error}");
    let fetched = made.fetch(&Wanted::default()).unwrap();
    drop(made.server.requests());
    let found = find(&made.settings, &Wanted::default()).unwrap();
    assert_eq!((found.path, found.files.len()), (fetched.path, fetched.files.len()));
    assert_eq!(made.server.requests(), []);
}

#[test]
fn a_listing_without_lengths_and_tags_is_completed_file_by_file() {
    let mut made = Made::pipeline();
    let listing =
        format!(r#"{{"sha": "{COMMIT}", "siblings": [{{"rfilename": "{UNET}"}}, {{"rfilename": "README.md"}}]}}"#);
    made.server.fail("/api/models", testkit::hub::Fault::Answer(200, Vec::new(), listing));
    let fetched = made.fetch(&Wanted { extent: Extent::All, ..Wanted::default() }).unwrap();
    assert_eq!(fs::read(fetched.path.join(UNET)).unwrap(), Made::expected(UNET));
    assert!(made.blob(UNET).is_file() && made.blob("README.md").is_file(), "named as with a whole listing");
}

#[test]
fn names_that_lead_elsewhere_are_refused() {
    for (id, part) in [("../x", "no repository has such a name"), ("a/..", "no repository"), ("a", "owner/name")] {
        let settings = Settings::at("http://127.0.0.1:9", Cache::at("none".into())).unwrap();
        let error = Hub::new(settings)
            .fetch(id, None, &Wanted::default(), &mut |_: sd_hub::Event<'_>| std::ops::ControlFlow::Continue(()));
        assert!(error.unwrap_err().to_string().contains(part));
    }
    let mut made = Made::pipeline();
    for revision in ["../x", "/x", ""] {
        let error = made.fetch_at(Some(revision), &Wanted::default()).unwrap_err().to_string();
        assert!(error.contains("is no revision"), "{error}");
    }
    for (listing, part) in [
        (format!(r#"{{"sha": "{COMMIT}", "siblings": [{{"rfilename": "../../x"}}]}}"#), "outside of the cache"),
        (
            format!(r#"{{"sha": "{COMMIT}", "siblings": [{{"rfilename": "x", "size": 1, "blobId": "../x"}}]}}"#),
            "tag of x",
        ),
        (r#"{"sha": "../../x", "siblings": []}"#.to_owned(), "is no commit"),
        ("<html>".to_owned(), "is not the Hub's"),
    ] {
        made.server.fail("/api/models", testkit::hub::Fault::Answer(200, Vec::new(), listing));
        made.fails(&Wanted::default(), &[part, "HF_ENDPOINT"]);
        assert!(!made.dir.path().join("hub").exists(), "{part}");
    }
}

//! Settings of every tool, of the corpus of `sd-metadata`, and the requests that people would make of them by hand.

use std::path::Path;

use sd_metadata::{Carrier, Text};
use sd_runtime::pipeline::{Conditions, LatentFilter, Seeds, Variation};
use sd_runtime::prompt::Emphasis;
use sd_runtime::rng::RandomKind;
use sd_spec::Family;

use super::{Like, LikeGiven, tools};
use crate::hires::{Enlarge, Hires, PictureFilter};
use crate::loras::LoraAsked;
use crate::request::Request;
use crate::start::{Start, StartMask};

/// The texts of a file of the corpus.
fn texts(name: &str) -> Vec<Text> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../sd-metadata/tests/texts");
    let file = std::fs::read_to_string(folder.join(name).with_extension("txt")).unwrap();
    let parts = file.split("=== ").skip(1).map(|part| part.split_once('\n').unwrap());
    let parts = parts.take_while(|(head, _)| *head != "expected");
    let text = |(head, body): (&str, &str)| {
        let (_, keyword) = head.split_once(' ').unwrap();
        Text::new(Carrier::Png, keyword, body.strip_suffix('\n').unwrap_or(body))
    };
    parts.map(text).collect()
}

fn parameters(text: &str) -> Like {
    Like::of(&[Text::new(Carrier::Png, "parameters", text)]).unwrap()
}

/// All that a picture can be given.
fn everything() -> LikeGiven {
    LikeGiven {
        image: true,
        mask: true,
        controlnets: 9,
        refiner: true,
        taesd: true,
        vae: true,
        noise: true,
        ..LikeGiven::default()
    }
}

fn keys(like: &Like) -> Vec<&str> {
    like.not_taken.iter().map(|entry| entry.key.as_str()).collect()
}

fn asked(like: &Like) -> Request {
    // What a file of settings says must not show through.
    let mut request =
        Request { sigmas: Some(vec![1.0]), negative_prompt: Some("x".into()), clip_skip: 3, ..Request::default() };
    like.apply(&mut request).unwrap();
    request
}

/// A request as the web UI's users make it.
fn web_ui(prompt: &str) -> Request {
    Request { guidance: 7.0, seeds: Seeds::Each, random: RandomKind::Nvidia, ..Request::new(prompt) }
}

#[track_caller]
fn check(name: &str, size: &str, want: &Request, left: &[&str]) -> Like {
    let mut like = Like::of(&texts(name)).unwrap();
    like.give(&everything()).unwrap();
    let emphasis = tools::habits(like.tool).emphasis;
    assert_eq!(asked(&like), Request { emphasis, ..want.clone() }, "{name}");
    assert_eq!(like.size.map(|size| size.to_string()).as_deref(), Some(size).filter(|size| !size.is_empty()), "{name}");
    assert_eq!(keys(&like), left, "{name}: {:#?}", like.not_taken);
    like
}

fn sampler(name: &str) -> Option<sd_runtime::scheduler::Sampler> {
    Some(name.parse().unwrap())
}

#[test]
fn pictures_of_the_web_ui_are_drawn_as_it_drew_them() {
    let negative = |text: &str| Some(text.to_owned());
    let plain = Request {
        negative_prompt: negative("people, text"),
        seed: 1_234_567_890,
        scheduler: sampler("euler-a-uniform"),
        ..web_ui("a lighthouse at dusk, oil on canvas")
    };
    check("a1111-plain", "512x768", &plain, &[]);
    let lines = Request {
        negative_prompt: negative("people,\ntext,\nframes"),
        guidance: 6.5,
        seed: 99,
        clip_skip: 1,
        scheduler: sampler("dpmpp-2m-karras"),
        ..web_ui("a lighthouse,\n\nin three lines, the second of which is empty")
    };
    check("a1111-lines", "640x512", &lines, &["ENSD"]);
    let refined = Request {
        steps: 40,
        seed: 5,
        random: RandomKind::Torch,
        variation: Some(Variation { seed: 77, strength: 0.25 }),
        scheduler: sampler("euler-uniform"),
        refiner_start: Some(0.8),
        ..web_ui("a stage")
    };
    check("a1111-variation-refiner", "1024x1024", &refined, &["Eta", "Tiling", "Seed resize from"]);
    let second = Hires {
        by: Enlarge::Picture(PictureFilter::Lanczos),
        // All of 12 steps, the last of int(12 / 0.4).
        steps: Some(30),
        strength: 0.4,
        ..Hires::new("1.5".parse().unwrap())
    };
    let quoted = Request {
        steps: 30,
        guidance: 5.0,
        seed: u64::MAX,
        hires: Some(second),
        scheduler: sampler("dpmpp-2m-sde-exponential"),
        ..web_ui("a map")
    };
    let left = ["Sampler noise", "Hires upscaler", "Hires sampler", "Hires prompt", "Hires negative prompt"];
    check("a1111-quoted", "1024x1024", &quoted, &left);
    let script = Request { seed: 1, scheduler: sampler("euler-uniform"), ..web_ui("a fox") };
    let left = ["Script", "X Type", "X Values", "ADetailer model", "ADetailer prompt"];
    check("a1111-script-keys", "512x512", &script, &left);
    let civitai = Request { seed: 1, scheduler: sampler("euler-a-uniform"), ..web_ui("a fox") };
    let like = check("a1111-civitai-hashes", "512x512", &civitai, &[]);
    assert_eq!(like.model_hash.as_deref(), Some("6ce0161689"));
    let flux = Request {
        guidance: 1.0,
        seed: 3,
        hires: Some(Hires {
            by: Enlarge::Latents(LatentFilter::Bilinear),
            steps: Some(33),
            strength: 0.606061,
            ..Hires::new("1.5".parse().unwrap())
        }),
        scheduler: sampler("euler-uniform"),
        ..web_ui("a glass bird")
    };
    let left = ["Schedule type", "Distilled CFG Scale", "Hires Distilled CFG Scale", "Module 1", "Module 2"];
    check("forge-flux", "896x1152", &flux, &left);
}

#[test]
fn a_picture_that_began_with_another_is_counted_as_its_tool_counts() {
    let door = Request { seed: 2, scheduler: sampler("euler-a-uniform"), ..web_ui("a door") };
    let like = check("a1111-inpaint", "512x512", &door, &["Masked content"]);
    let image = sd_runtime::image::RgbImage::new(1, 1, vec![0; 3]).unwrap();
    let mut start = Start::new(image.clone(), "a.png");
    let mask = StartMask { image: image.to_grey(), file: "m.png".into(), is_inverted: false };
    start.mask = Some(mask.clone());
    like.begin(&mut start);
    let want = Start {
        // int(0.75 · 20) + 1 of 20.
        strength: Some(0.8),
        mask: Some(StartMask { is_inverted: true, ..mask }),
        mask_blur: 4.0,
        only_masked: Some(32),
        ..Start::new(image, "a.png")
    };
    assert_eq!(start, want);
    let comfy = Request {
        // int(20 / 0.6), of which the last 20 are taken.
        steps: 33,
        negative_prompt: Some("text, watermark".into()),
        guidance: 8.0,
        seed: 5,
        random: RandomKind::Torch,
        scheduler: sampler("euler-uniform"),
        ..Request::new("a bottle with a galaxy inside")
    };
    let left = [
        "5 EmptyLatentImage.width",
        "5 EmptyLatentImage.height",
        "41 VAEEncodeForInpaint.grow_mask_by",
        "42 LoadImageMask.channel",
    ];
    check("comfy-img2img-inpaint", "", &comfy, &left);
    let mut like = Like::of(&texts("comfy-img2img-inpaint")).unwrap();
    let error = like.give(&LikeGiven::default()).unwrap_err().to_string();
    assert!(error.contains("began with another picture, house.png; give it with --image"), "{error}");
    let error = Like::of(&texts("a1111-inpaint")).unwrap().give(&LikeGiven::default()).unwrap_err().to_string();
    assert!(error.contains("which it does not name; give it with --image"), "{error}");
}

#[test]
fn pictures_of_graphs_are_drawn_with_numbers_of_the_cpu() {
    let comfy = |prompt: &str| Request { guidance: 8.0, seed: 5, random: RandomKind::Torch, ..Request::new(prompt) };
    let negative_prompt = Some("text, watermark".to_owned());
    let default = Request {
        negative_prompt: negative_prompt.clone(),
        scheduler: sampler("euler-uniform"),
        ..comfy("a bottle with a galaxy inside")
    };
    check("comfy-default", "512x768", &default, &[]);
    let fox = Request { negative_prompt, clip_skip: 1, scheduler: sampler("dpmpp-2m-karras"), ..comfy("a fox") };
    let like = check("comfy-loras-vae-clip-skip", "512x768", &fox, &["LoRA", "LoRA"]);
    assert_eq!(like.not_taken[0].value, "fur.safetensors:0.8:0.5");
    let turbo = Request {
        steps: 1,
        guidance: 1.0,
        seed: 7,
        scheduler: sampler("euler-a-uniform"),
        ..comfy("a bottle with a galaxy inside")
    };
    check("comfy-custom-sampler", "512x768", &turbo, &["Negative prompt", "Schedule type"]);
    let plugin =
        Request { negative_prompt: Some("text".into()), scheduler: sampler("euler-uniform"), ..comfy("a bottle") };
    check("comfy-plugin-parameters", "512x512", &plugin, &[]);
    let swarm = Request {
        guidance: 7.0,
        seed: 11,
        negative_prompt: Some("string".into()),
        scheduler: sampler("dpmpp-2m-karras"),
        ..comfy("a kite")
    };
    check("swarm", "1024x1024", &swarm, &["LoRA"]);
    let fooocus = Request {
        steps: 30,
        guidance: 4.0,
        seed: 2_825_173_137,
        negative_prompt: Some(String::new()),
        scheduler: sampler("dpmpp-2m-sde-karras"),
        ..comfy("a kite")
    };
    let left = ["Sampler noise", "refiner_switch", "adm_guidance", "full_prompt", "performance", "LoRA"];
    check("fooocus", "1152x896", &fooocus, &left);
}

#[test]
fn pictures_of_other_programs_are_drawn_with_their_numbers() {
    let cpp = Request {
        steps: 30,
        negative_prompt: Some("sky".into()),
        guidance: 5.0,
        seed: 197_583_933,
        ..web_ui("A field of sunflowers")
    };
    check("sdcpp-old", "512x512", &cpp, &["Sampler"]);
    let object = Request {
        negative_prompt: Some("sky: blue, \"grey\"".into()),
        seed: 42,
        scheduler: sampler("euler-a-uniform"),
        ..web_ui("A field, wide")
    };
    check("sdcpp-object", "512x512", &object, &["LoRA"]);
    let koi = Request {
        steps: 28,
        negative_prompt: Some("people".into()),
        guidance: 7.5,
        seed: 3_021_877_424,
        clip_skip: 1,
        seeds: Seeds::Each,
        scheduler: sampler("dpmpp-2m-karras"),
        ..Request::new("a koi pond, morning")
    };
    check("draw-things", "512x768", &koi, &["seed_mode", "LoRA"]);
    let torch = Request {
        negative_prompt: Some(String::new()),
        guidance: 5.0,
        seed: 1,
        seeds: Seeds::Each,
        random: RandomKind::Torch,
        hires: Some(Hires { steps: Some(20), ..Hires::new("1536x1536".parse().unwrap()) }),
        scheduler: sampler("euler-a"),
        refiner_start: Some(0.85),
        ..Request::new("a koi pond")
    };
    check("draw-things-hires", "768x768", &torch, &["Sampler"]);
    let crane = Request {
        steps: 28,
        negative_prompt: Some("glue; tape".into()),
        guidance: 11.0,
        seed: 2_917_461,
        seeds: Seeds::Each,
        scheduler: sampler("dpmpp-2m"),
        ..Request::new("a paper crane; folded, Steps: 3")
    };
    check("mochi", "", &crane, &[]);
    let moor = Request {
        steps: 30,
        negative_prompt: Some("fence".into()),
        guidance: 6.0,
        seed: 2_184_637,
        seeds: Seeds::Each,
        random: RandomKind::Torch,
        scheduler: sampler("dpmpp-2m-karras"),
        ..Request::new("a moor (heather)1.2")
    };
    check("invoke", "1024x768", &moor, &["LoRA"]);
    let kite = Request {
        steps: 28,
        negative_prompt: Some("lowres, text".into()),
        guidance: 11.0,
        seed: 2_870_249_017,
        seeds: Seeds::Each,
        scheduler: sampler("euler-a-uniform"),
        ..Request::new("a kite in the wind")
    };
    check("novelai", "", &kite, &["RNG", "noise"]);
    let bird = Request {
        guidance: 6.0,
        guidance_rescale: 0.7,
        seed: 9,
        scheduler: sampler("unipc"),
        ..web_ui("a glass bird")
    };
    check("sdnext", "768x768", &bird, &[]);
}

#[test]
fn our_own_settings_are_taken_whole() {
    let heart = Request {
        negative_prompt: Some("blue".into()),
        seed: 93,
        scheduler: sampler("pndm"),
        ..Request::new("a red heart")
    };
    check("smelt", "64x48", &heart, &[]);
    let all = Request {
        prompt_2: Some("a heart, red".into()),
        conditions: Conditions { crop: Some("8,16".parse().unwrap()), ..Conditions::default() },
        refiner_start: Some(0.8),
        seed: 1,
        guidance: 5.0,
        guidance_rescale: 0.7,
        clip_skip: 1,
        variation: Some(Variation { seed: 5, strength: 0.1 }),
        guidance_interval: Some("0.2:1".parse().unwrap()),
        scheduler: sampler("dpmpp-2m"),
        random: RandomKind::Torch,
        ..Request::new("a heart")
    };
    let all = Request { count: 3, only: Some(2), ..all };
    // The second pass is by a name that is none.
    let like = check("smelt-all", "512x512", &all, &["hires"]);
    let mut start = Start::new(sd_runtime::image::RgbImage::new(1, 1, vec![0; 3]).unwrap(), "a.png");
    like.begin(&mut start);
    assert_eq!((start.strength, start.fit.name(), start.mask_blur), (Some(0.5), "fill", 0.0));
    // A negative prompt that is empty is not one that is missing.
    let json = |negative: &str| {
        let settings = format!(
            r#"{{"software": "smelt 9", "model": "m", "prompt": "p", "negative_prompt": {negative}, "seed": 0, "image_idx": 0,
            "steps": 1, "guidance_scale": 7.5, "scheduler": "euler", "random": "numpy", "width": 64, "height": 64, "novel": 1}}"#
        );
        Like::of(&[Text::new(Carrier::Exif, "ImageDescription", settings)]).unwrap()
    };
    assert_eq!(asked(&json("\"\"")).negative_prompt.as_deref(), Some(""));
    assert_eq!(asked(&json("null")).negative_prompt, None);
    assert_eq!(keys(&json("null")), ["novel"]);
}

#[test]
fn what_is_not_given_is_named() {
    let mut like = Like::of(&texts("a1111-loras")).unwrap();
    let lora = |text: &str| LoraAsked::read(text.as_ref()).unwrap();
    let loras = ["loras/METAL.safetensors:0.8", "plain:0.5"].map(lora).to_vec();
    like.give(&LikeGiven { loras, ..LikeGiven::default() }).unwrap();
    // Of those in the prompt the one stays that is given with its weight.
    assert_eq!(asked(&like).prompt, "a robot <lora:metal:0.8> with  eyes");
    let left: Vec<_> = like.not_taken.iter().map(|entry| (entry.key.as_str(), entry.value.as_str())).collect();
    let want =
        [("<lora:odd:x>", ""), ("LoRA", "Glow v2:0.7:0.5"), ("LoRA", "elsewhere"), ("Embedding", "easynegative")];
    assert_eq!(left, want);
    let mut like = Like::of(&texts("a1111-controlnets")).unwrap();
    like.give(&LikeGiven { controlnets: 1, ..LikeGiven::default() }).unwrap();
    let left: Vec<_> = like.not_taken.iter().map(|entry| (entry.key.as_str(), entry.value.as_str())).collect();
    assert_eq!(left, [("ControlNet 0 Resize Mode", "Crop and Resize"), ("ControlNet", "control_v11f1p_sd15_depth")]);
    let mut like = Like::of(&texts("a1111-variation-refiner")).unwrap();
    like.give(&LikeGiven::default()).unwrap();
    assert_eq!(asked(&like).refiner_start, None);
    let refiner = like.not_taken.last().unwrap();
    assert_eq!(refiner.why.as_deref(), Some("give it with --refiner"));
}

#[test]
fn samplers_are_found_by_the_names_of_every_tool() {
    let found = |tool: &str, sampler: &str, schedule: &str| {
        let schedule = if schedule.is_empty() { String::new() } else { format!(", Schedule type: {schedule}") };
        let like =
            parameters(&format!("x\nSteps: 20, Sampler: {sampler}{schedule}, Seed: 1, Size: 8x8, Version: {tool}"));
        let is_left = keys(&like).iter().any(|key| key.starts_with("Sampler") || *key == "Schedule type");
        let left = if is_left { "!" } else { "" };
        format!("{}{left}", asked(&like).scheduler.map(|sampler| sampler.to_string()).unwrap_or_default())
    };
    for (tool, sampler, schedule, want) in [
        ("v1.10.1", "DPM++ 2M", "Karras", "dpmpp-2m-karras"),
        ("v1.10.1", "DPM++ 2M", "Automatic", "dpmpp-2m-karras"),
        ("v1.10.1", "DPM++ 3M SDE", "Automatic", "dpmpp-3m-sde-exponential!"),
        ("v1.10.1", "DPM2 a", "Automatic", "dpm2-a-karras"),
        ("v1.10.1", "Heun", "Automatic", "heun-uniform"),
        ("v1.6.0", "DPM++ 2M", "", "dpmpp-2m-uniform"),
        ("v1.10.1", "Euler", "SGM Uniform", "euler-sgm-uniform"),
        ("v1.10.1", "Euler", "Align Your Steps", "euler-ays"),
        ("v1.10.1", "Euler", "Simple", "euler-uniform!"),
        ("v1.10.1", "DDIM", "Karras", "ddim"),
        ("v1.10.1", "UniPC", "Automatic", "unipc"),
        ("v1.10.1", "PLMS", "", "pndm"),
        ("v1.10.1", "LCM", "Automatic", "lcm"),
        ("v1.10.1", "Restart", "Automatic", "!"),
        ("v1.10.1", "DPM adaptive", "Karras", "!"),
        ("ComfyUI", "dpm_2_ancestral", "normal", "dpm2-a-uniform"),
        ("ComfyUI", "dpmpp_2s_ancestral", "exponential", "dpmpp-2s-a-exponential"),
        ("ComfyUI", "uni_pc", "normal", "unipc-uniform"),
        ("ComfyUI", "euler_ancestral_sgm_uniform", "", "euler-a-sgm-uniform"),
        ("ComfyUI", "ddim", "ddim_uniform", "ddim!"),
        ("ComfyUI", "euler_cfg_pp", "normal", "euler-uniform!"),
        ("ComfyUI", "heunpp2", "normal", "!"),
        ("stable-diffusion.cpp", "dpm++2s_a", "ays", "dpmpp-2s-a-ays"),
        ("stable-diffusion.cpp", "euler", "discrete", "euler-uniform"),
        ("InvokeAI 5", "kdpm_2_a_k", "", "dpm2-a-karras"),
        ("InvokeAI 5", "euler", "", "euler"),
        ("InvokeAI 5", "deis", "", "deis"),
        ("Draw Things", "DPM++ SDE Karras", "", "dpmpp-sde-karras"),
        ("Draw Things", "Euler A Trailing", "", "euler-a!"),
        ("Draw Things", "DPM++ 2M AYS", "", "dpmpp-2m-ays"),
        ("Mochi Diffusion 5", "DPM-Solver++", "", "dpmpp-2m"),
        ("smelt 0.1", "DPM++ 2M", "Automatic", "dpmpp-2m"),
        ("smelt 0.1", "dpmpp-2m", "Uniform", "dpmpp-2m-uniform"),
    ] {
        assert_eq!(found(tool, sampler, schedule), want, "{tool} {sampler} {schedule}");
    }
}

#[test]
fn settings_are_fitted_to_the_family_of_the_model() {
    let fitted = |tool: &str, family, sampler: &str, schedule: &str| {
        let mut like = parameters(&format!(
            "x\nSteps: 20, Sampler: {sampler}, Schedule type: {schedule}, Clip skip: 2, Seed: 1, Version: {tool}"
        ));
        like.fit(family);
        let request = asked(&like);
        (request.clip_skip, request.scheduler.unwrap().to_string(), keys(&like).join(" "))
    };
    let want = |skip, name: &str, left: &str| (skip, name.to_owned(), left.to_owned());
    assert_eq!(fitted("v1.10.1", Family::Sd, "Euler", "Karras"), want(1, "euler-karras", ""));
    assert_eq!(fitted("v1.10.1", Family::Sdxl, "Euler", "Align Your Steps"), want(0, "euler-ays-xl", ""));
    assert_eq!(fitted("ComfyUI", Family::Sdxl, "euler", "normal"), want(0, "euler-uniform", ""));
    assert_eq!(fitted("v1.10.1", Family::Sd3, "Euler", "Automatic"), want(0, "flow-euler", ""));
    assert_eq!(fitted("v1.10.1", Family::Sd3, "Euler", "Karras"), want(0, "flow-euler", "Schedule type"));
}

#[test]
fn texts_of_the_corpus_whatever_they_say_give_requests() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../sd-metadata/tests/texts");
    let mut n = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let Ok(mut like) = Like::of(&texts(&name)) else { continue };
        like.give(&everything()).unwrap();
        for family in [Family::Sd, Family::Sdxl, Family::Sd3] {
            let mut like = like.clone();
            like.fit(family);
            asked(&like);
        }
        n += 1;
    }
    assert!(n > 50, "{n}");
    let error = Like::of(&[]).unwrap_err().to_string();
    assert!(error.contains("does not say how it was made"), "{error}");
}

#[test]
fn what_is_out_of_range_is_not_taken() {
    let like = parameters(
        "x\nSteps: 0, Sampler: DDIM, CFG scale: 0.5, Seed: 1, Size: 99999x8, Eta: 3, CFG rescale: 7, Variation seed: 3, \
         Variation seed strength: 2",
    );
    assert_eq!(keys(&like), ["Size", "Steps", "CFG scale", "Variation seed", "Eta"]);
    asked(&like).check().unwrap();
    let like = parameters("x\nSteps: 20, CFG scale: 7, CFG rescale: 7, Seed: 1, Denoising strength: 1.5");
    assert_eq!(keys(&like), ["CFG rescale", "Denoising strength"]);
}

#[test]
fn prompts_are_read_as_the_tool_read_them() {
    let of = |text: &str| asked(&parameters(text)).emphasis;
    let said = |emphasis: &str| {
        format!("a (fox:1.2)\nSteps: 20, Sampler: Euler, Seed: 1, Size: 64x64{emphasis}, Version: v1.10.1")
    };
    assert_eq!(of(&said("")), Emphasis::Original);
    assert_eq!(of(&said(", Emphasis: No norm")), Emphasis::NoNorm);
    assert_eq!(of(&said(", Emphasis: None")), Emphasis::Plain);
    assert_eq!(keys(&parameters(&said(", Emphasis: Ignore"))), Vec::<&str>::new());
    assert_eq!(keys(&parameters(&said(", Emphasis: Strong"))), ["Emphasis"]);
}

#[test]
fn networks_that_a_prompt_names_stay_where_they_are_found() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("fur.safetensors"), "").unwrap();
    let text =
        "a <lora:fur:0.8> b <lora:fur:0.5> <hypernet:x:1> <lora:gone:1> 1 < 2 <3:4> c\nSteps: 1, Seed: 1, Size: 8x8";
    let mut like = parameters(text);
    like.give(&LikeGiven { lora_folder: Some(dir.path().into()), ..LikeGiven::default() }).unwrap();
    assert_eq!(asked(&like).prompt, "a <lora:fur:0.8> b    1 < 2  c");
    assert_eq!(keys(&like), ["<hypernet:x:1>", "<3:4>", "LoRA"]);
    let mut like = parameters(text);
    like.give(&LikeGiven::default()).unwrap();
    assert_eq!(asked(&like).prompt, "a  b    1 < 2  c");
    assert_eq!(keys(&like), ["<hypernet:x:1>", "<3:4>", "LoRA", "LoRA", "LoRA"]);
}

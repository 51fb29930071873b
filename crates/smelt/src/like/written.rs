//! What we write is what is read: of our own settings, whatever they are, in every format of pictures.

use sd_metadata::{Carrier, Text, parse_parameters};
use sd_runtime::image::{PictureFormat, RgbImage};
use sd_runtime::pipeline::{
    Conditions, GuidingPicture, PictureSettings, RefinedBy, SecondPass, SkipLayers, StartingPicture, Variation,
};

use super::{Like, LikeGiven};
use crate::request::Request;

/// Prompts that a grammar of lines and commas could stumble over.
const PROMPTS: &[&str] = &[
    "a red heart",
    "a fox, oil on canvas,\nin two lines",
    "日本, «été», \"quoted\"",
    "Steps: 20, Sampler: Euler a, Seed: 5, Size: 512x512",
    "(a:1.2), [b|c], <lora:fur:0.8>",
    "{\"json\": [1, 2]}",
    "\\ back \\\" slash",
];
const NEGATIVES: &[Option<&str>] = &[None, Some(""), Some("blue, green"), Some("a\nb: c")];
const NAMES: &[&str] = &["sd-emoji", "v1-5 + fur:0.8", "a, \"b\": c", "{odd", "[x", " spaced "];
const SCHEDULERS: &[&str] = &[
    "pndm",
    "dpmpp-2m-karras",
    "dpmpp-2m",
    "DPMSolverMultistepScheduler",
    "euler-a-uniform",
    "dpmpp-2m-sde-exponential",
    "euler-ays",
    "flow-euler",
    "heun",
];
const RANDOM: &[&str] = &["numpy", "torch", "nvidia", "torch-f16", "numpy-pcg64"];

/// Settings as many as there are numbers, each field going round at a pace of its own.
fn settings(n: usize) -> PictureSettings {
    fn pick<T: Copy>(from: &[T], n: usize) -> T {
        from[n % from.len()]
    }
    let some = |every: usize| n.is_multiple_of(every);
    let name = pick(NAMES, n / 2).to_owned();
    let hires = SecondPass {
        width: 96,
        height: 72,
        by: "latent".into(),
        upscaler: "Latent".into(),
        strength: pick(&[0.7, 0.5, 0.35], n),
        steps: 20,
    };
    let start = StartingPicture {
        file: name.clone(),
        strength: pick(&[0.6, 1.0, 0.05], n),
        fit: pick(&[None, Some("resize"), Some("crop"), Some("fill")], n).map(str::to_owned),
        mask: some(2).then(|| "m.png".to_owned()),
        mask_inverted: some(4),
        mask_blur: some(2).then_some(4.5),
        only_masked: some(4).then_some(32),
        border: some(3).then(|| "0,0,64,0".to_owned()),
        image_guidance: some(5).then_some(1.5),
    };
    let canny = GuidingPicture {
        controlnet: "canny".into(),
        file: "house.png".into(),
        preprocess: some(2).then(|| "canny:50,150.5".to_owned()),
        weight: 0.75,
        start: 0.0,
        end: 0.5,
    };
    PictureSettings {
        software: "smelt 0.1.0".into(),
        model: name.clone(),
        model_hash: some(3).then(|| "6ce0161689".to_owned()),
        vae: some(7).then(|| name.clone()),
        words: if some(6) { vec!["<cat>".into(), "blur".into()] } else { Vec::new() },
        prompt: pick(PROMPTS, n).to_owned(),
        prompt_2: some(9).then(|| "a heart, red".to_owned()),
        negative_prompt: pick(NEGATIVES, n).map(str::to_owned),
        emphasis: pick(&["original", "no-norm", "plain", "compel", "ignore"], n / 3).into(),
        negative_prompt_2: some(18).then(|| "no: none".to_owned()),
        conditions: Conditions { crop: some(8).then(|| "8,16".parse().unwrap()), ..Conditions::default() },
        negative_conditions: Conditions { aesthetic_score: some(11).then_some(1.5), ..Conditions::default() },
        refiner: some(10).then(|| RefinedBy { model: name.clone(), start: 0.8 }),
        seed: [0, 93, u32::MAX.into()][n % 3],
        image_idx: if some(4) { 2 } else { 0 },
        image_count: if some(4) { 3 } else { 1 },
        noise: some(13).then(|| "given".to_owned()),
        steps: 1 + n % 40,
        guidance_scale: pick(&[7.5, 4.0, 1.1], n),
        guidance_rescale: pick(&[0.0, 0.7], n),
        clip_skip: n % 3,
        negative_clip_skip: some(12).then_some(0),
        timesteps: some(15).then(|| vec![999.0, 1.5]),
        sigmas: some(17).then(|| vec![14.5, 0.25]),
        eta: some(5).then_some(0.5),
        original_steps: some(19).then_some(50),
        variation: some(3).then_some(Variation { seed: 7, strength: 0.25 }),
        guidance_interval: some(5).then(|| "0.2:1".to_owned()),
        skip_layers: some(14).then(|| SkipLayers::new("7,8".parse().unwrap())),
        forecast: some(7).then(|| "line".to_owned()),
        scheduler: pick(SCHEDULERS, n).into(),
        random: pick(RANDOM, n).into(),
        start: (n % 3 == 1).then_some(start),
        controls: if some(3) { vec![canny] } else { Vec::new() },
        taesd: some(16).then(|| name.clone()),
        width: 64,
        height: 48,
        hires: (n % 3 == 2).then_some(hires),
    }
}

fn of(keyword: &str, text: String) -> Like {
    let mut like = Like::of(&[Text::new(Carrier::Png, keyword, text)]).unwrap();
    let given = LikeGiven {
        image: true,
        mask: true,
        controlnets: 1,
        taesd: true,
        vae: true,
        refiner: true,
        ..LikeGiven::default()
    };
    like.give(&given).unwrap();
    like
}

fn asked(like: &Like) -> Request {
    let mut request = Request::default();
    like.apply(&mut request).unwrap();
    request
}

#[test]
fn our_text_is_read_and_written_as_it_was() {
    for n in 0..2000 {
        let text = settings(n).to_string();
        let made = parse_parameters(&text);
        assert_eq!(made.to_parameters(), text, "{n}: {made:#?}");
    }
}

#[test]
fn our_text_and_our_json_ask_for_the_same() {
    for n in 0..2000 {
        let settings = settings(n);
        let texts = settings.to_png_texts();
        let (text, json) = (of("parameters", texts[0].text.clone()), of("smelt", texts[1].text.clone()));
        let (mut said, all) = (asked(&text), asked(&json));
        // What the web UI has no words for is in the JSON alone; the rest is the same in both.
        let own = Request {
            conditions: all.conditions,
            negative_conditions: all.negative_conditions,
            guidance_interval: all.guidance_interval,
            skip_layers: all.skip_layers,
            forecast: all.forecast,
            negative_clip_skip: all.negative_clip_skip,
            timesteps: all.timesteps.clone(),
            sigmas: all.sigmas.clone(),
            original_steps: all.original_steps,
            count: all.count,
            only: all.only,
            ..said.clone()
        };
        said = own;
        // An empty one that nothing tells from one that is missing, and words of a scheduler of its own.
        let is_empty = |text: &Option<String>| text.as_deref().unwrap_or_default().is_empty();
        if is_empty(&all.negative_prompt) && is_empty(&said.negative_prompt) {
            said.negative_prompt = all.negative_prompt.clone();
        }
        if matches!(settings.scheduler.as_str(), "dpmpp-2m" | "DPMSolverMultistepScheduler") {
            said.scheduler = all.scheduler;
        }
        // Eta of those that take none is no option.
        said.eta = all.eta;
        if let (Some(said), Some(all)) = (&mut said.hires, &all.hires) {
            // As many steps of another schedule.
            let taken = |steps: Option<usize>, strength| (steps.unwrap_or(0) as f64 * strength) as usize;
            assert_eq!(taken(said.steps, said.strength), taken(all.steps, all.strength), "{n}");
            (said.steps, said.strength) = (all.steps, all.strength);
        }
        assert_eq!(said, all, "{n}: {}", texts[0].text);
        assert_eq!((text.size, &text.model), (json.size, &json.model), "{n}");
        if let Some(start) = &settings.start {
            assert_eq!(text.begun.strength.or(Some(start.strength)), Some(start.strength), "{n}");
            assert_eq!((text.begun.fit, text.begun.is_inverted), (json.begun.fit, json.begun.is_inverted), "{n}");
        }
        assert_eq!(text.guided, json.guided, "{n}");
    }
}

#[test]
fn every_format_says_the_same() {
    let picture = RgbImage::new(16, 8, vec![99; 16 * 8 * 3]).unwrap();
    for n in (0..200).step_by(7) {
        let texts = settings(n).to_png_texts();
        let read = |format| {
            let mut file = Vec::new();
            assert_eq!(picture.write(&mut file, format, &texts).unwrap(), [""; 0]);
            let found = sd_metadata::read(&file).unwrap();
            assert_eq!(found.faults, [""; 0], "{n} {format:?}");
            found
        };
        let png = read(PictureFormat::Png);
        for format in [PictureFormat::Jpeg, PictureFormat::WebP] {
            let found = read(format);
            assert_eq!(found.made, png.made, "{n} {format:?}");
            let comment = found.texts.iter().find(|text| text.keyword == "UserComment").unwrap();
            assert_eq!(comment.text, texts[0].text, "{n} {format:?}");
            assert_eq!(asked(&Like::of(&found.texts).unwrap()), asked(&Like::of(&png.texts).unwrap()));
        }
    }
}

#[test]
fn no_key_of_ours_is_one_of_a_later_version() {
    for n in 0..2000 {
        let like = of("smelt", settings(n).to_png_texts()[1].text.clone());
        let left = like.not_taken.iter().find(|entry| entry.why.is_none());
        assert_eq!(left, None, "{n}");
    }
}

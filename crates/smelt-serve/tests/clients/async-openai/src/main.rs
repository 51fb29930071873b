//! async-openai, unchanged, on a server of ours: its URL is the argument; each call is told as a line of JSON.

use async_openai::Client;
use async_openai::config::OpenAIConfig;
use async_openai::error::OpenAIError;
use async_openai::types::InputSource;
use async_openai::types::images::{
    CreateImageEditRequest, CreateImageRequest, Image, ImageEditInput, ImageGenStreamEvent, ImageInput, ImageModel,
    ImageOutputFormat, ImageSize, ImagesResponse,
};
use futures::StreamExt;

fn tell(call: &str, outcome: Result<String, String>) {
    let (ok, note) = match outcome {
        Ok(note) => (true, note),
        Err(note) => (false, note),
    };
    println!("{}", serde_json::json!({ "client": "async-openai 0.43.0", "call": call, "ok": ok, "note": note }));
}

/// The first picture's bytes, which must be a PNG.
fn png(response: &ImagesResponse) -> Result<Vec<u8>, String> {
    let Some(Image::B64Json { b64_json, .. }) = response.data.first().map(|image| &**image) else {
        return Err("no picture in base64".to_owned());
    };
    let bytes = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, b64_json.as_bytes());
    let bytes = bytes.map_err(|error| error.to_string())?;
    if bytes.starts_with(b"\x89PNG") { Ok(bytes) } else { Err("no PNG".to_owned()) }
}

fn said(error: OpenAIError) -> String {
    error.to_string()
}

#[tokio::main]
async fn main() {
    let url = std::env::args().nth(1).expect("the server's URL");
    let config = OpenAIConfig::new().with_api_base(format!("{}/v1", url.trim_end_matches('/'))).with_api_key("none");
    let client = Client::with_config(config);
    let images = client.images();
    let heart = || CreateImageRequest { prompt: "red heart".to_owned(), ..CreateImageRequest::default() };

    let drawn = images.generate(heart()).await.map_err(said);
    tell("images.generate", drawn.as_ref().map_err(Clone::clone).and_then(|response| {
        png(response).map(|_| format!("{:?}", response.size))
    }));
    let two = CreateImageRequest { n: Some(2), output_format: Some(ImageOutputFormat::Jpeg), ..heart() };
    let drawn = images.generate(two).await.map_err(said);
    tell("images.generate, two as JPEG", drawn.and_then(|response| match response.data.len() {
        2 => Ok(String::new()),
        n => Err(format!("{n} pictures")),
    }));
    tell("images.generate_stream", streamed(&client, CreateImageRequest { partial_images: Some(2), ..heart() }).await);
    let refused = CreateImageRequest { size: Some(ImageSize::Other("7x7".to_owned())), ..heart() };
    tell("images.generate, size", match images.generate(refused).await {
        Err(error) if error.to_string().contains("multiples of 8") => Ok(format!("refused: {error}")),
        other => Err(format!("{other:?}")),
    });
    let unknown = CreateImageRequest { model: ImageModel::Other("none".to_owned()), ..heart() };
    tell("images.generate, unknown model", match images.generate(unknown).await {
        Err(error) if error.to_string().contains("no model is called") => Ok(format!("refused: {error}")),
        other => Err(format!("{other:?}")),
    });
    if let Ok(response) = images.generate(heart()).await {
        tell("images.edit", match png(&response) {
            Ok(bytes) => edited(&client, bytes).await,
            Err(note) => Err(note),
        });
    }
    tell("models.list, models.retrieve", models(&client).await.map_err(said));
}

async fn streamed(client: &Client<OpenAIConfig>, request: CreateImageRequest) -> Result<String, String> {
    let mut events = client.images().generate_stream(request).await.map_err(said)?;
    let mut n_partial = 0;
    while let Some(event) = events.next().await {
        match event.map_err(said)? {
            ImageGenStreamEvent::PartialImage(_) => n_partial += 1,
            ImageGenStreamEvent::Completed(done) if !done.b64_json.is_empty() => {
                return Ok(format!("{n_partial} partial pictures"));
            }
            ImageGenStreamEvent::Completed(_) => return Err("an empty picture".to_owned()),
        }
    }
    Err("the stream ended before the picture".to_owned())
}

async fn edited(client: &Client<OpenAIConfig>, bytes: Vec<u8>) -> Result<String, String> {
    let image = ImageInput { source: InputSource::VecU8 { filename: "heart.png".to_owned(), vec: bytes } };
    let request = CreateImageEditRequest {
        image: ImageEditInput::Image(image),
        prompt: "blue heart".to_owned(),
        ..CreateImageEditRequest::default()
    };
    let response = client.images().edit(request).await.map_err(said)?;
    png(&response).map(|_| String::new())
}

async fn models(client: &Client<OpenAIConfig>) -> Result<String, OpenAIError> {
    let all = client.models().list().await?;
    let first = all.data.first().map(|model| model.id.clone()).unwrap_or_default();
    Ok(client.models().retrieve(&first).await?.id)
}

//! Pictures in the terminal: which way a terminal takes them, and the escape sequences of each.
//!
//! What a terminal can do is told by its environment; it is not asked, for an answer may never come.
//! Animations, transparency and pictures beside text are not here.

mod blocks;
mod sixel;

use std::io::IsTerminal;

use anyhow::{Result, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use clap::ValueEnum;
use smelt::image::{Filter, RgbImage, Size};

/// Ways to show a picture in a terminal, as `--show` takes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Show {
    /// The best that the terminal is known to take.
    Auto,
    /// Kitty's graphics protocol: kitty, Ghostty.
    Kitty,
    /// Inline images: iTerm2, WezTerm, mintty.
    Iterm,
    /// Sixel graphics: foot, Konsole, mlterm, contour.
    Sixel,
    /// Half blocks in 24-bit colour: anywhere else.
    Blocks,
}

/// A way to show pictures that has been decided on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    Kitty,
    Iterm,
    Sixel,
    Blocks,
}

/// Columns of the half blocks where there is no terminal to fit.
const COLUMNS: usize = 80;
/// Pixels of a column, where letters are small.
const COLUMN_PIXELS: usize = 8;
/// Bytes of base64 in one of kitty's sequences; its protocol allows no more.
const KITTY_CHUNK: usize = 4096;

impl Show {
    /// The way to use; an error where standard output shows no pictures, unless one way was named.
    pub(crate) fn protocol(self) -> Result<Protocol> {
        match self {
            Self::Kitty => Ok(Protocol::Kitty),
            Self::Iterm => Ok(Protocol::Iterm),
            Self::Sixel => Ok(Protocol::Sixel),
            Self::Blocks => Ok(Protocol::Blocks),
            Self::Auto if !std::io::stdout().is_terminal() => bail!(
                "--show draws in the terminal, and standard output is not one; \
                 leave it out, or name a way to draw all the same: --show=kitty, iterm, sixel or blocks"
            ),
            Self::Auto => match Protocol::of_terminal() {
                Some(protocol) => Ok(protocol),
                None => bail!(
                    "this terminal (TERM=dumb) shows no pictures; \
                     leave --show out, or name a way to draw all the same: --show=blocks"
                ),
            },
        }
    }
}

impl Protocol {
    /// What the terminal of this process takes; none where it takes no escape sequences.
    pub(crate) fn of_terminal() -> Option<Self> {
        Self::detect(|name| std::env::var(name).ok().filter(|value| !value.is_empty()))
    }

    /// What a terminal with these environment variables takes.
    fn detect(var: impl Fn(&str) -> Option<String>) -> Option<Self> {
        let (term, program) = (var("TERM").unwrap_or_default(), var("TERM_PROGRAM").unwrap_or_default());
        let term_has = |names: &[&str]| names.iter().any(|name| term.contains(name));
        if term == "dumb" {
            return None;
        }
        // A multiplexer passes none of the outer terminal's graphics on.
        if var("TMUX").is_some() || var("STY").is_some() || term.starts_with("tmux") || term.starts_with("screen") {
            return Some(Self::Blocks);
        }
        // Of these it is known that they take no graphics; the variables below may come from the program that started them.
        if ["vscode", "Apple_Terminal"].contains(&program.as_str()) {
            return Some(Self::Blocks);
        }
        let iterm = ["iTerm.app", "WezTerm", "mintty"].contains(&program.as_str());
        let konsole = var("KONSOLE_VERSION").and_then(|v| v.parse::<u32>().ok()).is_some_and(|v| v >= 220_400);
        Some(if iterm || var("LC_TERMINAL").is_some_and(|v| v == "iTerm2") {
            Self::Iterm
        } else if konsole || term_has(&["foot", "mlterm", "contour", "yaft", "sixel"]) {
            Self::Sixel
        } else if var("KITTY_WINDOW_ID").is_some() || term_has(&["kitty", "ghostty"]) || program == "ghostty" {
            Self::Kitty
        } else {
            Self::Blocks
        })
    }

    /// The name that `--show` takes.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Kitty => "kitty",
            Self::Iterm => "iterm",
            Self::Sixel => "sixel",
            Self::Blocks => "blocks",
        }
    }

    /// Whether pictures keep their pixels, so that text in them can be read.
    pub(crate) fn is_sharp(self) -> bool {
        self != Self::Blocks
    }

    /// The characters that show a picture, with a line break at their end.
    pub(crate) fn encode(self, image: &RgbImage) -> Result<String> {
        let image = &if self.is_sharp() { narrowed(image, terminal_columns()) } else { image.clone() };
        Ok(match self {
            Self::Kitty => kitty(&png(image)?),
            Self::Iterm => iterm(&png(image)?),
            Self::Sixel => sixel::encode(image),
            Self::Blocks => {
                let (columns, rows) = blocks_size();
                blocks::encode(&blocks::fit(image, columns, rows))
            }
        })
    }
}

/// Columns of the terminal, if there is one.
fn terminal_columns() -> Option<usize> {
    console::Term::stdout().size_checked().map(|(_, columns)| columns.max(1).into())
}

/// The picture, no wider than a terminal of so many columns: not all of them reduce what is.
fn narrowed(image: &RgbImage, n_columns: Option<usize>) -> RgbImage {
    let width = n_columns.map_or(usize::MAX, |n| n * COLUMN_PIXELS);
    if image.width() <= width {
        return image.clone();
    }
    image.resize(Size { width, height: (image.height() * width).div_ceil(image.width()) }, Filter::Bicubic)
}

/// Columns, and rows of the terminal less one for the prompt; without a terminal any number of rows.
fn blocks_size() -> (usize, usize) {
    match console::Term::stdout().size_checked() {
        Some((rows, columns)) => (columns.max(1).into(), rows.saturating_sub(1).max(1).into()),
        None => (COLUMNS, usize::MAX),
    }
}

fn png(image: &RgbImage) -> Result<Vec<u8>> {
    let mut file = Vec::new();
    image.write_png(&mut file, &[])?;
    Ok(file)
}

/// A PNG in kitty's graphics protocol: transmitted and displayed (`a=T`), no answer (`q=2`), in chunks (`m=1` but the last).
// Source: "Terminal graphics protocol", sections "The graphics escape code" and "Remote client", kitty 0.36.
fn kitty(png: &[u8]) -> String {
    let data = BASE64.encode(png);
    let mut text = String::new();
    let mut rest = data.as_str();
    let mut control = "a=T,f=100,q=2,";
    while !rest.is_empty() {
        let (chunk, after) = rest.split_at(rest.len().min(KITTY_CHUNK));
        let more = u8::from(!after.is_empty());
        text.push_str(&format!("\x1b_G{control}m={more};{chunk}\x1b\\"));
        (rest, control) = (after, "");
    }
    text + "\n"
}

/// A PNG as an inline image of iTerm2.
// Source: "Inline images protocol", iTerm2 3.5.
fn iterm(png: &[u8]) -> String {
    format!("\x1b]1337;File=inline=1;size={};preserveAspectRatio=1:{}\x07\n", png.len(), BASE64.encode(png))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A picture whose PNG does not fit one chunk.
    fn noise(width: usize, height: usize) -> RgbImage {
        let mut state = 1u32;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        };
        RgbImage::new(width, height, (0..width * height * 3).map(|_| next()).collect()).unwrap()
    }

    fn decode(base64: &str) -> RgbImage {
        let file = BASE64.decode(base64).unwrap();
        RgbImage::read(std::io::Cursor::new(file)).unwrap()
    }

    #[test]
    fn kitty_gets_the_png_in_chunks_that_its_protocol_allows() {
        let image = noise(64, 50);
        let text = Protocol::Kitty.encode(&image).unwrap();
        let chunks: Vec<(&str, &str)> = text
            .trim_end()
            .split_terminator("\x1b\\")
            .map(|s| s.strip_prefix("\x1b_G").unwrap().split_once(';').unwrap())
            .collect();
        assert!(chunks.len() > 2);
        let last = chunks.len() - 1;
        for (idx, (control, data)) in chunks.iter().enumerate() {
            let wanted = [("a=T,f=100,q=2,m=1", 0), ("m=0", last)].into_iter().find(|w| w.1 == idx);
            assert_eq!(*control, wanted.map_or("m=1", |w| w.0));
            assert!(data.len() == KITTY_CHUNK || idx == last, "{}", data.len());
        }
        assert_eq!(decode(&chunks.iter().map(|c| c.1).collect::<String>()), image);
        let one = Protocol::Kitty.encode(&noise(2, 2)).unwrap();
        assert!(one.starts_with("\x1b_Ga=T,f=100,q=2,m=0;"), "{one:?}");
    }

    #[test]
    fn iterm_gets_the_png_with_its_size() {
        let image = noise(5, 4);
        let text = Protocol::Iterm.encode(&image).unwrap();
        let (head, data) = text.strip_suffix("\x07\n").unwrap().split_once(':').unwrap();
        let n_bytes = BASE64.decode(data).unwrap().len();
        assert_eq!(head, format!("\x1b]1337;File=inline=1;size={n_bytes};preserveAspectRatio=1"));
        assert_eq!(decode(data), image);
    }

    #[test]
    fn only_pictures_wider_than_the_terminal_are_reduced() {
        let image = noise(200, 100);
        for (n_columns, size) in [(None, (200, 100)), (Some(25), (200, 100)), (Some(10), (80, 40))] {
            let narrowed = narrowed(&image, n_columns);
            assert_eq!((narrowed.width(), narrowed.height()), size);
        }
    }

    #[test]
    fn terminals_are_known_by_their_environment() {
        #[track_caller]
        fn check(environment: &[(&str, &str)], wanted: Option<Protocol>) {
            let var = |name: &str| environment.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned());
            assert_eq!(Protocol::detect(var), wanted, "{environment:?}");
        }
        check(&[("TERM", "xterm-kitty")], Some(Protocol::Kitty));
        check(&[("TERM", "xterm-256color"), ("KITTY_WINDOW_ID", "1")], Some(Protocol::Kitty));
        check(&[("TERM", "xterm-ghostty"), ("TERM_PROGRAM", "ghostty")], Some(Protocol::Kitty));
        check(&[("TERM_PROGRAM", "iTerm.app")], Some(Protocol::Iterm));
        check(&[("TERM", "xterm"), ("LC_TERMINAL", "iTerm2")], Some(Protocol::Iterm));
        check(&[("TERM_PROGRAM", "WezTerm")], Some(Protocol::Iterm));
        check(&[("TERM", "foot")], Some(Protocol::Sixel));
        check(&[("TERM", "xterm-256color"), ("KONSOLE_VERSION", "230804")], Some(Protocol::Sixel));
        check(&[("TERM", "xterm-256color"), ("KONSOLE_VERSION", "210400")], Some(Protocol::Blocks));
        check(&[("TERM", "xterm-256color")], Some(Protocol::Blocks));
        check(&[("TERM_PROGRAM", "vscode"), ("KITTY_WINDOW_ID", "1")], Some(Protocol::Blocks));
        check(&[], Some(Protocol::Blocks));
        check(&[("TERM", "dumb"), ("KITTY_WINDOW_ID", "1")], None);
        for multiplexer in [("TMUX", "x"), ("STY", "x"), ("TERM", "screen-256color")] {
            check(&[multiplexer, ("KITTY_WINDOW_ID", "1"), ("LC_TERMINAL", "iTerm2")], Some(Protocol::Blocks));
        }
    }
}

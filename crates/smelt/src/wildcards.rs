//! Prompts with choices, of which a seed draws some: `{red|blue}`, and lines of files, `__colour__`.
//!
//! The grammar is that of the extension Dynamic Prompts, as far as people use it: choices within choices, weights
//! (`{3::red|blue}`), several of them (`{2$$red|blue|green}`, `{1-2$$ and $$red|blue}`), and files whose lines have choices
//! themselves. Its variables, templates, patterns of names and YAML files are not here; a `${` is refused.
//! Which are drawn depends on the seed alone, on every machine: what is drawn stands in the picture's settings.

mod draw;
mod parse;

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use crate::error::{Context, Result, refuse};
use draw::Drawing;
use parse::Part;

/// Cap on a file of lines, in bytes.
const MAX_BYTES: u64 = 16 << 20;

/// Files of lines, in a folder; each is read once.
#[derive(Debug)]
pub struct Wildcards {
    dir: PathBuf,
    lines: BTreeMap<String, Arc<[Vec<Part>]>>,
}

impl Wildcards {
    /// The files of a folder.
    ///
    /// # Errors
    /// When there is no such folder.
    pub fn of(dir: impl Into<PathBuf>) -> Result<Self> {
        let dir = dir.into();
        if !dir.is_dir() {
            refuse!("{} is no folder; --wildcards takes the one that holds files of lines, NAME.txt", dir.display());
        }
        Ok(Self { dir, lines: BTreeMap::new() })
    }

    /// What a seed draws of a prompt. `idx` tells texts of one picture apart, so that each has its own.
    ///
    /// ```
    /// # fn main() -> Result<(), smelt::Error> {
    /// let mut wildcards = smelt::Wildcards::of(".")?;
    /// let prompt = wildcards.draw("a {red|blue} heart", 7, 0)?;
    /// assert!(["a red heart", "a blue heart"].contains(&prompt.as_str()));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// For a prompt that breaks the grammar, and for files that are missing, empty or name one another in circles.
    pub fn draw(&mut self, prompt: &str, seed: u64, idx: u64) -> Result<String> {
        let parts = parse::parse(prompt).with_context(|| format!("the prompt {prompt:?}"))?;
        Drawing::new(self, seed, idx).text(&parts)
    }

    /// The lines of a file, without those that are empty or begin with `#`.
    fn lines(&mut self, name: &str) -> Result<Arc<[Vec<Part>]>> {
        if let Some(lines) = self.lines.get(name) {
            return Ok(lines.clone());
        }
        let inside = Path::new(name).components().all(|part| matches!(part, Component::Normal(_)));
        let path = self.dir.join(format!("{name}.txt"));
        let text = match inside {
            true => safe_files::read_text_if_present(&path, MAX_BYTES)?,
            false => None,
        };
        let Some(text) = text else {
            refuse!("__{name}__: there is no {name}.txt in {}{}", self.dir.display(), self.others());
        };
        let lines = prompt_lines(&text)
            .map(|line| parse::parse(line).with_context(|| format!("{}: the line {line:?}", path.display())));
        let lines: Arc<[Vec<Part>]> = lines.collect::<Result<Vec<_>>>()?.into();
        if lines.is_empty() {
            refuse!("__{name}__: {} has no line", path.display());
        }
        self.lines.insert(name.to_owned(), lines.clone());
        Ok(lines)
    }

    /// Which names there are, for those who typed another.
    fn others(&self) -> String {
        const MAX_NAMED: usize = 8;
        let files = std::fs::read_dir(&self.dir).into_iter().flatten().flatten();
        let stem = |path: PathBuf| Some(path.file_stem()?.to_str()?.to_owned());
        let is_text = |path: &PathBuf| path.extension().is_some_and(|e| e == "txt");
        let mut names: Vec<String> = files.map(|file| file.path()).filter(is_text).filter_map(stem).collect();
        names.sort();
        let n = names.len();
        names.truncate(MAX_NAMED);
        let more = if n > MAX_NAMED { ", …" } else { "" };
        match names.is_empty() {
            true => ", which holds no .txt file".to_owned(),
            false => format!("; it has {}{more}", names.join(", ")),
        }
    }
}

/// The lines of a text that are not empty and do not begin with `#`, without the space around them: a file of prompts, or of
/// what may stand in one.
pub fn prompt_lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> (tempfile::TempDir, Wildcards) {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
        write("colour.txt", "# colours\n\nred\n{dark|light} blue\n  green\n");
        write("thing.txt", "__colour__ heart\n__colour__ car\n");
        write("circle.txt", "__circle__ __circle__");
        write("empty.txt", "# nothing\n\n");
        write("broken.txt", "{a|b");
        std::fs::create_dir(dir.path().join("art")).unwrap();
        write("art/old_masters.txt", "Vermeer\n");
        let wildcards = Wildcards::of(dir.path()).unwrap();
        (dir, wildcards)
    }

    fn drawn(prompt: &str) -> Vec<String> {
        let (_dir, mut wildcards) = folder();
        let mut all: Vec<String> = (0..200).map(|seed| wildcards.draw(prompt, seed, 0).unwrap()).collect();
        all.sort();
        all.dedup();
        all
    }

    #[track_caller]
    fn check(prompt: &str, want: &[&str]) {
        assert_eq!(drawn(prompt), want, "{prompt}");
    }

    #[test]
    fn each_choice_is_drawn_by_some_seed_and_nothing_else() {
        check("a red heart", &["a red heart"]);
        check("a {red|blue} heart", &["a blue heart", "a red heart"]);
        check("{a|{b|c}}{|!}", &["a", "a!", "b", "b!", "c", "c!"]);
        check("{ only }", &["only"]);
        check("a|b [c|d] (e:1.2)", &["a|b [c|d] (e:1.2)"]);
        check(r"\{a\|b\} \(c\) \_", &[r"{a|b} \(c\) \_"]);
        check("{0::a|b|0.0::c}", &["b"]);
        check("2$$ 3:: {a 2::b}", &["2$$ 3:: a 2::b"]);
    }

    #[test]
    fn several_of_a_choice_are_different_ones() {
        check("{2$$a|b}", &["a, b", "b, a"]);
        check("{1-2$$ and $$a|b}", &["a", "a and b", "b", "b and a"]);
        check("{-2$$a|b}", &["a", "a, b", "b", "b, a"]);
        check("{2-$$a|b}", &["a, b", "b, a"]);
        check("{9$$a|b}", &["a, b", "b, a"]);
        check("{0$$a|b}x", &["x"]);
        check("{2$$__art/old_masters__|b}", &["Vermeer, b", "b, Vermeer"]);
    }

    #[test]
    fn lines_come_from_files_and_have_choices_themselves() {
        check("__colour__", &["dark blue", "green", "light blue", "red"]);
        check("by __art/old_masters__", &["by Vermeer"]);
        assert_eq!(drawn("a __thing__").len(), 8);
        // Of one file, several are different lines.
        assert!(drawn("{2$$ $$__colour__}").iter().all(|text| text != "red red" && text != "green green"));
        check("__no_such name!__ a__b", &["__no_such name!__ a__b"]);
    }

    #[test]
    fn weights_count() {
        let (_dir, mut wildcards) = folder();
        let n = (0..2000).filter(|&seed| wildcards.draw("{3::a|1::b}", seed, 0).unwrap() == "a").count();
        assert!((1400..1600).contains(&n), "{n} of 2000");
    }

    #[test]
    fn a_seed_draws_the_same_everywhere_and_each_text_its_own() {
        let (_dir, mut wildcards) = folder();
        let mut draw = |seed, idx| wildcards.draw("{0|1|2|3|4|5|6|7|8|9}{a|b|c|d}{2$$x|y|z}", seed, idx).unwrap();
        // Pinned: a picture's seed and prompt must draw the same in later versions.
        let drawn = [draw(0, 0), draw(1, 0), draw(u64::MAX, 0), draw(0, 1)];
        assert_eq!(drawn, ["7cx, z", "9bx, y", "9dx, y", "9dz, y"]);
    }

    #[test]
    fn what_cannot_be_drawn_is_named() {
        let (dir, mut wildcards) = folder();
        for (prompt, fact) in [
            ("a {red|blue heart", "{ at character 3 has no }"),
            ("a red} heart", "} at character 6 has no {"),
            ("a ${colour} heart", "variables"),
            ("{-1::a|b}", "-1 is no weight"),
            ("{0::a|0::b}", "no weight above 0"),
            ("{3-2$$a|b}", "3 to 2"),
            ("__color__", "there is no color.txt in"),
            ("__color__", "it has broken, circle, colour, empty, thing"),
            ("__../secret__", "there is no ../secret.txt"),
            ("__/etc/passwd__", "there is no /etc/passwd.txt"),
            ("__empty__", "has no line"),
            ("__circle__", "in circles"),
            ("__broken__", "broken.txt: the line \"{a|b\""),
        ] {
            let error = wildcards.draw(prompt, 1, 0).unwrap_err().chain();
            assert!(error.contains(fact), "{prompt}: {error}");
        }
        let nested = format!("{}a{}", "{".repeat(10_000), "}".repeat(10_000));
        assert!(wildcards.draw(&nested, 1, 0).unwrap_err().chain().contains("too deep"));
        assert!(Wildcards::of(dir.path().join("none")).unwrap_err().to_string().contains("is no folder"));
    }
}

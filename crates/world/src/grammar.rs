//! Small pieces of English and Chinese grammar.

use crate::scene::Clothing;

/// "one", "two", … in English; digits above twelve.
pub(crate) fn number(n: usize) -> String {
    const WORDS: [&str; 13] =
        ["no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"];
    WORDS.get(n).map_or_else(|| n.to_string(), |word| (*word).to_owned())
}

/// 一, 两, 三 … as before a measure word; digits above ten.
pub(crate) fn number_zh(n: usize) -> String {
    const WORDS: [&str; 11] = ["零", "一", "两", "三", "四", "五", "六", "七", "八", "九", "十"];
    WORDS.get(n).map_or_else(|| n.to_string(), |word| (*word).to_owned())
}

/// The phrase with "a" or "an" before it.
pub(crate) fn a(phrase: &str) -> String {
    // The sound decides, not the letter: "a unicorn", "an honest cat".
    let vowel = phrase.starts_with(['a', 'e', 'i', 'o', 'u']) && !phrase.starts_with("uni");
    format!("{} {phrase}", if vowel || phrase.starts_with("hon") { "an" } else { "a" })
}

/// "red scarf", "glasses": without article.
pub(crate) fn clothing(worn: &Clothing) -> String {
    match worn.colour {
        Some(colour) => format!("{} {}", colour.en, worn.noun.singular),
        None => worn.noun.singular.to_owned(),
    }
}

/// "a red scarf", but "glasses".
pub(crate) fn a_clothing(worn: &Clothing) -> String {
    if worn.noun.pair { clothing(worn) } else { a(&clothing(worn)) }
}

/// Appends `sentences` to `text` with capital letters where sentences and speech begin. Curly quotation marks, which
/// need no escapes in the source, become straight ones.
pub(crate) fn push_sentences(text: &mut String, sentences: &str) {
    let mut capital = true;
    let mut before = ['\0'; 2];
    for c in sentences.chars() {
        // `. T` and `.” “T`, but neither `?” asked` nor `, “but`.
        capital |= before[1] == ' ' && matches!(before[0], '.' | '!' | '?');
        capital |= c == '“' && before[1] == ' ' && matches!(before[0], '”' | ':');
        before = [before[1], c];
        match c {
            '“' | '”' => text.push('"'),
            c if capital && c.is_alphabetic() => {
                text.extend(c.to_uppercase());
                capital = false;
            }
            c => text.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(sentences: &str, want: &str) {
        let mut text = String::new();
        push_sentences(&mut text, sentences);
        assert_eq!(text, want);
    }

    #[test]
    fn capitals() {
        check("he ran. she ran.", "He ran. She ran.");
        check("“where is it?” asked Tom.", "\"Where is it?\" asked Tom.");
        check("“no,” said Tom, “but yes.” “why?”", "\"No,\" said Tom, \"but yes.\" \"Why?\"");
        check("it said: “go!” and went “bang”.", "It said: \"Go!\" and went \"bang\".");
    }

    #[test]
    fn articles() {
        assert_eq!(a("old unicorn"), "an old unicorn");
        assert_eq!(a("unicorn"), "a unicorn");
        assert_eq!(a("umbrella"), "an umbrella");
        assert_eq!(a("honest cat"), "an honest cat");
        assert_eq!(a("yellow umbrella"), "a yellow umbrella");
    }

    #[test]
    fn numbers() {
        assert_eq!((number(12), number(13)), ("twelve".to_owned(), "13".to_owned()));
        assert_eq!((number_zh(2), number_zh(11)), ("两".to_owned(), "11".to_owned()));
    }
}

//! Questions on stories.

use crate::{
    rng::{Draws, Key},
    story::{NAMES, Story},
};

/// A story with four questions on it; one of them has no answer in the story.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoryQuestions {
    /// The text of the story.
    pub context: String,
    /// The questions, in no order.
    pub questions: Vec<Question>,
}

/// A question on a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// The question.
    pub question: String,
    /// Where the text answers it, if it does.
    pub answer: Option<Answer>,
}

/// A piece of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The piece.
    pub text: String,
    /// Where it begins, in characters from 0.
    pub start: usize,
}

const ANSWERED: usize = 3;

/// What is asked on other stories: without the word in the text, it has no answer there. All of these are questions that
/// have an answer elsewhere, so that nobody can tell by the question alone.
const ELSEWHERE: &[(&str, &str)] = &[
    ("coin", "How many coins did {} have at first?"),
    ("chest", "What colour was the chest?"),
    ("map", "Behind what was the treasure?"),
    ("seed", "How many seeds did {} plant?"),
    ("contest", "What was the prize of the contest?"),
    ("contest", "Who won the contest?"),
    ("game", "Who won the game?"),
    ("count", "How far did {} count?"),
    ("sound", "What made the strange sound?"),
    ("play", "Where was {} going to play?"),
];

/// What is asked of a character.
const OF_SOMEBODY: &[&str] = &["Where did {} live?", "Who was {}?", "What did {} always wear?"];

pub(super) fn draw(story: Story, key: Key) -> StoryQuestions {
    let draws = &mut key.draws();
    let unanswered = Question { question: unanswerable(&story, draws), answer: None };
    let mut questions = story.facts;
    while questions.len() > ANSWERED {
        questions.remove(draws.below(questions.len()));
    }
    questions.insert(draws.below(questions.len() + 1), unanswered);
    // They come in the order of the story: that would tell where to look.
    for last in (1..questions.len()).rev() {
        questions.swap(last, draws.below(last + 1));
    }
    StoryQuestions { context: story.text, questions }
}

/// A question that could be asked on the story, and has no answer in it.
fn unanswerable(story: &Story, draws: &mut Draws) -> String {
    let (text, [hero, friend]) = (story.text.to_lowercase(), story.names);
    let told = |question: &String| story.facts.iter().any(|fact| fact.question == *question);
    loop {
        let question = match draws.below(3) {
            // Of one who takes no part.
            0 => {
                let names = NAMES[draws.below(2)];
                let stranger = *draws.pick(names);
                if story.text.contains(stranger) {
                    continue;
                }
                draws.pick(OF_SOMEBODY).replace("{}", stranger)
            }
            // Of the hero, who may wear nothing.
            1 => format!("What did {hero} always wear?"),
            _ => {
                let (word, question) = *draws.pick(ELSEWHERE);
                if text.contains(word) {
                    continue;
                }
                question.replace("{}", draws.pick::<&str>(&[hero, friend]))
            }
        };
        if !told(&question) {
            return question;
        }
    }
}

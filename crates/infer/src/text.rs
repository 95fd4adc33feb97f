//! Continuing text: tokenizer, generation, streaming, stop strings.

use std::{ops::ControlFlow, path::Path};

use bedstone_data::tokenizer::{Special, StreamDecoder, Tokenizer};
use bedstone_models::Model;

use crate::{Finish, GenerationConfig, InferError, Result, Runtime, generate};

/// A language model with its tokenizer.
pub struct TextModel {
    /// The model.
    pub model: Model,
    /// Its tokenizer.
    pub tokenizer: Tokenizer,
    /// How it generates unless told otherwise.
    pub generation: GenerationConfig,
    /// How it is run.
    pub runtime: Runtime,
}

/// A prompt continued.
#[derive(Clone, Debug, PartialEq)]
pub struct Completion {
    /// Number of the prompt.
    pub prompt: usize,
    /// What was added, up to a stop string.
    pub text: String,
    /// Tokens added.
    pub tokens: usize,
    /// Why it ended.
    pub finish: Finish,
    /// The score of a beam.
    pub score: Option<f32>,
}

impl TextModel {
    /// With the tokenizer and the settings in the checkpoint directory `dir`.
    pub fn new(model: Model, dir: &Path, runtime: Runtime) -> Result<Self> {
        let tokenizer = Tokenizer::load(dir)?;
        let (tokens, vocab) = (tokenizer.vocab_size(), model.info().vocab_size);
        if tokens > vocab {
            return Err(InferError::Vocabulary { path: dir.to_owned(), tokens, vocab });
        }
        Ok(TextModel { model, tokenizer, generation: GenerationConfig::of_checkpoint(dir)?, runtime })
    }

    /// Ids of a prompt; an empty one is the token that starts a text.
    pub fn encode(&self, prompt: &str) -> Result<Vec<i32>> {
        let mut ids: Vec<i32> =
            self.tokenizer.encode_ids(prompt, Special::With)?.into_iter().map(|id| id as i32).collect();
        if ids.is_empty() {
            // What stands before a text in training: its own start, or the end of the one before.
            let end = self.tokenizer.document_end().map(|t| t.id as i32);
            ids.extend(self.generation.bos_token_id.or(end));
        }
        Ok(ids)
    }

    /// How many tokens fit behind the longest prompt; unlimited for models whose positions do not end.
    pub fn room(&self, prompts: &[String]) -> Result<usize> {
        let info = self.model.info();
        let Some(limit) = info.max_length.filter(|_| info.positions_end) else { return Ok(usize::MAX) };
        let lengths = prompts.iter().map(|p| Ok(self.encode(p)?.len())).collect::<Result<Vec<usize>>>()?;
        // A prompt that is too long by itself is refused when it is continued.
        Ok(lengths.into_iter().max().map_or(limit, |longest| limit.saturating_sub(longest)).max(1))
    }

    /// Continues each prompt up to a length, an end token or one of the strings in `stop`, which is left out.
    ///
    /// `on_text(prompt, text)` gets new text as soon as it is certain (with beams, when all is done).
    pub fn complete(
        &self,
        prompts: &[String],
        config: &GenerationConfig,
        stop: &[String],
        on_text: &mut dyn FnMut(usize, &str),
    ) -> Result<Vec<Completion>> {
        let ids: Vec<Vec<i32>> = prompts.iter().map(|p| self.encode(p)).collect::<Result<_>>()?;
        let mut streams: Vec<Stream<'_>> = prompts.iter().map(|_| Stream::new(&self.tokenizer, stop)).collect();
        let mut failure = None;
        // Of a text without its beginning the first characters may be missing, so more tokens are read than the longest
        // string can have.
        let window = stop.iter().map(String::len).max().map_or(0, |longest| longest + 8);
        let ends = |ids: &[i32]| {
            if window == 0 {
                return false;
            }
            let tail: Vec<u32> = ids[ids.len().saturating_sub(window)..].iter().map(|&id| id as u32).collect();
            let text = self.tokenizer.decode(&tail, Special::Without).unwrap_or_default();
            stop.iter().any(|s| !s.is_empty() && text.contains(s.as_str()))
        };
        let results = generate(
            &self.model,
            self.runtime,
            &ids,
            config,
            &mut |prompt, id| {
                if config.eos_token_id.contains(&id) {
                    return ControlFlow::Continue(());
                }
                match streams[prompt].push(id) {
                    Ok(Step { text, stopped }) => {
                        if !text.is_empty() {
                            on_text(prompt, &text);
                        }
                        if stopped { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
                    }
                    Err(e) => {
                        failure = Some(e);
                        ControlFlow::Break(())
                    }
                }
            },
            &ends,
        )?;
        if let Some(e) = failure {
            return Err(e);
        }
        let mut completions = Vec::with_capacity(results.len());
        for result in results {
            // Beams were not streamed.
            let mut stream = if config.num_beams > 1 {
                let mut stream = Stream::new(&self.tokenizer, stop);
                for &id in result.ids.iter().filter(|id| !config.eos_token_id.contains(id)) {
                    if stream.push(id)?.stopped {
                        break;
                    }
                }
                stream
            } else {
                std::mem::replace(&mut streams[result.prompt], Stream::new(&self.tokenizer, stop))
            };
            let rest = stream.finish()?;
            if config.num_beams == 1 && !rest.is_empty() {
                on_text(result.prompt, &rest);
            }
            let finish = if stream.stopped { Finish::Stopped } else { result.finish };
            let (prompt, tokens, score) = (result.prompt, result.ids.len(), result.score);
            completions.push(Completion { prompt, text: stream.given, tokens, finish, score });
        }
        Ok(completions)
    }
}

/// Text of one prompt as it comes, held back where it may begin a stop string.
struct Stream<'a> {
    decoder: Option<StreamDecoder<'a>>,
    stop: &'a [String],
    held: String,
    given: String,
    stopped: bool,
}

struct Step {
    text: String,
    stopped: bool,
}

impl<'a> Stream<'a> {
    fn new(tokenizer: &'a Tokenizer, stop: &'a [String]) -> Self {
        let decoder = Some(tokenizer.stream(Special::Without));
        Stream { decoder, stop, held: String::new(), given: String::new(), stopped: false }
    }

    fn push(&mut self, id: i32) -> Result<Step> {
        let new = match &mut self.decoder {
            Some(decoder) => decoder.push(id as u32)?,
            None => String::new(),
        };
        Ok(self.release(&new, false))
    }

    /// What was held back to the end.
    fn finish(&mut self) -> Result<String> {
        let new = match self.decoder.take() {
            Some(decoder) if !self.stopped => decoder.finish()?,
            _ => String::new(),
        };
        Ok(self.release(&new, true).text)
    }

    fn release(&mut self, new: &str, end: bool) -> Step {
        if self.stopped {
            return Step { text: String::new(), stopped: true };
        }
        self.held.push_str(new);
        let found = self.stop.iter().filter(|s| !s.is_empty()).filter_map(|s| self.held.find(s.as_str())).min();
        let text = match found {
            Some(at) => {
                self.stopped = true;
                self.held.truncate(at);
                std::mem::take(&mut self.held)
            }
            None => {
                let keep = if end { 0 } else { self.beginning_of_stop() };
                let rest = self.held.split_off(self.held.len() - keep);
                std::mem::replace(&mut self.held, rest)
            }
        };
        self.given.push_str(&text);
        Step { text, stopped: self.stopped }
    }

    /// Bytes at the end of what is held that begin a stop string.
    fn beginning_of_stop(&self) -> usize {
        let longest = |s: &String| {
            (1..s.len()).rev().find(|&n| s.is_char_boundary(n) && self.held.ends_with(&s[..n])).unwrap_or(0)
        };
        self.stop.iter().map(longest).max().unwrap_or(0)
    }
}

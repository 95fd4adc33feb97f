//! Prints stories with the captions of their scenes: `cargo run -p bedstone-world --example tell -- COUNT SEED`.
#![allow(clippy::print_stdout)]

use bedstone_world::{Split, World};

fn main() -> Result<(), std::num::ParseIntError> {
    let numbers: Vec<u64> = std::env::args().skip(1).map(|number| number.parse()).collect::<Result<_, _>>()?;
    let (count, seed) = (numbers.first().copied().unwrap_or(3), numbers.get(1).copied().unwrap_or(0));
    let world = World::new(seed);
    for index in 0..count {
        let story = world.story(Split::Train, index);
        println!("{}\n", story.text);
        for scene in &story.scenes {
            println!("[{}] [{}]", scene.caption_en(), scene.caption_zh());
        }
        println!();
    }
    Ok(())
}

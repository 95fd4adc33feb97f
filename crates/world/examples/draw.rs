//! Draws scenes and single things: `cargo run -p bedstone-world --example draw -- DIR [COUNT] [SIDE]`.
#![allow(clippy::print_stdout)]

use std::{env, fs, path::PathBuf};

use bedstone_world::{Split, World};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = env::args().skip(1);
    let dir = PathBuf::from(args.next().ok_or("usage: draw DIR [COUNT] [SIDE]")?);
    let count = args.next().map_or(Ok(8), |n| n.parse())?;
    let side = args.next().map_or(Ok(192), |n| n.parse())?;
    fs::create_dir_all(&dir)?;
    let world = World::new(0);
    for index in 0..count {
        let (scene, portrait) = (world.picture(Split::Train, index, side), world.portrait(Split::Train, index, side));
        println!("{}", world.scene(Split::Train, index).caption_en());
        fs::write(dir.join(format!("scene-{index}.png")), scene.to_png()?)?;
        fs::write(dir.join(format!("portrait-{index}.png")), portrait.to_png()?)?;
    }
    Ok(())
}

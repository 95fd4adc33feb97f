//! Pictures of scenes, with the boxes of what is in them.
//!
//! ```text
//! mod.rs       Picture: a scene, or one thing, on its background
//! classes.rs   what of them is told apart
//! files.rs     pictures as files
//! layout.rs    where things stand
//! paint.rs     sprites on a canvas
//! sprites.rs   the sprites: Twemoji
//! ```

mod classes;
pub(crate) mod files;
mod layout;
mod paint;
mod sprites;

pub use classes::{Classes, UnknownClasses};
use paint::{Bounds, Canvas, Square, Style};

use crate::{
    Object, Scene, Split, World,
    lexicon::{BACKGROUNDS, Background, Biome, COLOURS, Category, Noun, WornOn},
    rng::Draws,
};

/// A picture, and what is in it.
#[derive(Clone, Debug, PartialEq)]
pub struct Picture {
    /// Rows and columns.
    pub side: usize,
    /// Red, green and blue, row after row.
    pub pixels: Vec<u8>,
    /// Every thing that can be seen.
    pub things: Vec<Thing>,
}

impl Picture {
    /// As a PNG file.
    ///
    /// # Errors
    ///
    /// None that is known: memory is written to.
    pub fn to_png(&self) -> Result<Vec<u8>, png::EncodingError> {
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, self.side as u32, self.side as u32);
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_depth(png::BitDepth::Eight);
        encoder.write_header()?.write_image_data(&self.pixels)?;
        Ok(bytes)
    }
}

/// A thing in a picture.
#[derive(Clone, Debug, PartialEq)]
pub struct Thing {
    /// What it is; what it wears belongs to it.
    pub noun: &'static Noun,
    /// Left, top, right and bottom of it in pixels, right and bottom excluded.
    pub bounds: [f32; 4],
}

impl World {
    /// The picture of [`World::scene`] `index` of `split`, `side` pixels wide and high.
    pub fn picture(&self, split: Split, index: u64, side: usize) -> Picture {
        let scene = self.scene(split, index);
        let mut draws = self.key.named("picture").with(split.word()).with(index).draws();
        draw(&scene, side, &mut draws)
    }

    /// A picture of a single thing, number `index` of `split`, on some background. Its category is its class.
    pub fn portrait(&self, split: Split, index: u64, side: usize) -> Picture {
        let draws = &mut self.key.named("portrait").with(split.word()).with(index).draws();
        let subject = subject(draws);
        let background = draws.pick(BACKGROUNDS);
        let mut canvas = canvas(background, side, draws);
        let size = 0.4 + 0.45 * share(draws);
        let at = Square { left: (1.0 - size) * share(draws), top: (1.0 - size) * share(draws), side: size };
        let things = thing(&mut canvas, &subject, at, draws).into_iter().collect();
        Picture { side, pixels: canvas.pixels, things }
    }

    /// What [`World::portrait`] shows.
    pub fn portrayed(&self, split: Split, index: u64) -> &'static Noun {
        subject(&mut self.key.named("portrait").with(split.word()).with(index).draws()).noun
    }
}

/// Each category as often as any other.
fn subject(draws: &mut Draws) -> Object {
    let category = draws.pick(&Category::ALL);
    let noun = draws.pick(category.nouns());
    let colour = (noun.paintable && draws.percent(50)).then(|| draws.pick(COLOURS));
    Object { colour, ..Object::one(noun) }
}

/// From 0 up to 1.
fn share(draws: &mut Draws) -> f64 {
    draws.below(1 << 20) as f64 / (1u64 << 20) as f64
}

fn draw(scene: &Scene, side: usize, draws: &mut Draws) -> Picture {
    let mut canvas = canvas(scene.background, side, draws);
    let places = layout::layout(scene, draws);
    let mut things = Vec::new();
    // What others stand on is drawn before them.
    for (object, squares) in scene.objects.iter().zip(&places).rev() {
        for &at in squares {
            things.extend(thing(&mut canvas, object, at, draws));
        }
    }
    Picture { side, pixels: canvas.pixels, things }
}

/// A background: sky and ground of its biome, and large and faint what stands for it.
fn canvas(background: &'static Background, side: usize, draws: &mut Draws) -> Canvas {
    let (sky, ground, horizon) = colours(background.biome);
    let mut canvas = Canvas::new(side, sky, ground, horizon);
    let size = 0.35 + 0.2 * share(draws);
    let at = Square { left: (1.0 - size) * share(draws), top: (horizon - size * 0.8).max(0.02), side: size };
    canvas.draw(background.emoji, at, Style { faint: 0.55, ..Style::default() });
    canvas
}

/// Above and below the horizon, each from top to bottom, and how far down it is.
fn colours(biome: Biome) -> ([[u8; 3]; 2], [[u8; 3]; 2], f64) {
    match biome {
        Biome::Indoors => ([[250, 238, 216], [243, 225, 196]], [[190, 150, 110], [160, 120, 84]], 0.68),
        Biome::Town => ([[176, 212, 240], [218, 232, 242]], [[176, 176, 182], [142, 142, 150]], 0.62),
        Biome::Country => ([[150, 205, 250], [214, 236, 250]], [[150, 205, 100], [104, 168, 72]], 0.58),
        Biome::Forest => ([[140, 190, 170], [176, 214, 176]], [[84, 140, 74], [56, 104, 56]], 0.55),
        Biome::Desert => ([[250, 214, 150], [252, 232, 190]], [[236, 204, 138], [214, 174, 104]], 0.55),
        Biome::Mountain => ([[170, 200, 230], [220, 230, 240]], [[156, 150, 140], [120, 116, 108]], 0.5),
        Biome::Snow => ([[190, 214, 236], [226, 238, 248]], [[244, 248, 252], [216, 230, 242]], 0.52),
        Biome::Shore => ([[140, 208, 246], [206, 234, 248]], [[246, 226, 170], [230, 200, 132]], 0.6),
        Biome::Sea => ([[64, 150, 206], [38, 112, 176]], [[34, 98, 160], [20, 66, 118]], 0.7),
        Biome::Sky => ([[250, 176, 120], [250, 208, 170]], [[244, 190, 170], [214, 156, 176]], 0.7),
        Biome::Space => ([[20, 22, 54], [38, 38, 84]], [[96, 96, 110], [70, 70, 84]], 0.74),
    }
}

/// Draws one thing with what it wears and a mark for what it does.
fn thing(canvas: &mut Canvas, object: &Object, at: Square, draws: &mut Draws) -> Option<Thing> {
    let style = Style { colour: object.colour, mirrored: draws.percent(50), faint: 0.0 };
    let emoji = object.noun.emoji;
    let dress = object.worn.map(|worn| {
        let style = Style { colour: worn.colour, ..style };
        (worn.noun.emoji, worn.noun.worn_on.unwrap_or(WornOn::Head), style)
    });
    let (body, clothing, before) = dress.map_or((at, None, false), |(emoji, place, style)| {
        let (body, clothing, before) = dressed(at, emoji, place);
        (body, Some((emoji, clothing, style)), before)
    });
    let mut bounds: Option<Bounds> = None;
    let mut put = |canvas: &mut Canvas, emoji, at, style| {
        let seen = canvas.draw(emoji, at, style);
        bounds = match (bounds, seen) {
            (Some([l, t, r, b]), Some(s)) => Some([l.min(s[0]), t.min(s[1]), r.max(s[2]), b.max(s[3])]),
            (bounds, seen) => bounds.or(seen),
        };
    };
    match clothing {
        Some((worn, place, worn_style)) if before => {
            put(canvas, worn, place, worn_style);
            put(canvas, emoji, body, style);
        }
        Some((worn, place, worn_style)) => {
            put(canvas, emoji, body, style);
            put(canvas, worn, place, worn_style);
        }
        None => put(canvas, emoji, body, style),
    }
    if let Some(action) = object.action {
        canvas.draw(action.mark, at.part(0.72, -0.08, 0.36), Style::default());
    }
    Some(Thing { noun: object.noun, bounds: bounds? })
}

/// Squares of the wearer and of what it wears, and whether that is drawn first.
fn dressed(at: Square, emoji: &str, place: WornOn) -> (Square, Square, bool) {
    match place {
        WornOn::Head => (at.part(0.08, 0.16, 0.84), at.part(0.22, -0.06, 0.56), false),
        WornOn::Face => (at, at.part(0.2, 0.22, 0.6), false),
        WornOn::Neck => (at.part(0.08, 0.0, 0.84), at.part(0.28, 0.56, 0.44), false),
        // A head looks out of the suit.
        WornOn::Body if emoji == "🧑\u{200d}🚀" => (at.part(0.28, 0.12, 0.44), at, true),
        WornOn::Body => (at.part(0.2, 0.0, 0.6), at.part(0.16, 0.32, 0.68), true),
        WornOn::Back => (at.part(0.12, 0.06, 0.88), at.part(-0.02, 0.2, 0.56), true),
        WornOn::Limbs => (at.part(0.1, 0.0, 0.8), at.part(0.28, 0.6, 0.4), false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_index_is_the_same_picture() {
        let world = World::new(3);
        let picture = world.picture(Split::Train, 5, 96);
        assert_eq!(picture, world.picture(Split::Train, 5, 96));
        assert_eq!(picture.pixels.len(), 96 * 96 * 3);
        assert_ne!(picture.pixels, world.picture(Split::Validation, 5, 96).pixels);
        let hash = blake3::hash(&picture.pixels).to_hex();
        assert_eq!(&hash[..16], "db9464cd5c3fa382", "the bytes of pictures are part of the format");
    }

    #[test]
    fn boxes_hold_every_thing() {
        let world = World::new(0);
        for index in 0..100 {
            let (scene, picture) = (world.scene(Split::Train, index), world.picture(Split::Train, index, 128));
            let count: usize = scene.objects.iter().map(|o| o.count).sum();
            assert_eq!(picture.things.len(), count, "{}", scene.caption_en());
            for Thing { noun, bounds: [l, t, r, b] } in &picture.things {
                assert!(*l >= 0.0 && *t >= 0.0 && *r <= 128.0 && *b <= 128.0, "{}", noun.singular);
                assert!(r - l >= 2.0 && b - t >= 2.0, "{}: {l} {t} {r} {b}", noun.singular);
            }
            let portrait = world.portrait(Split::Train, index, 64);
            assert_eq!(portrait.things[0].noun, world.portrayed(Split::Train, index));
        }
    }
}

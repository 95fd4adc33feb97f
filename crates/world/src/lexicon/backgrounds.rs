//! Where scenes take place.

use super::Biome;

/// A place that fills the picture behind everything else.
#[derive(Debug)]
pub struct Background {
    /// The Unicode string of a picture that stands for it.
    pub emoji: &'static str,
    /// English name, used with "the": "moon".
    pub name: &'static str,
    /// "on", "in", "at", …: "**on** the moon".
    pub preposition: &'static str,
    /// Chinese with its place word: 月球上.
    pub zh: &'static str,
    /// What kind of place it is.
    pub biome: Biome,
    /// Whether characters of a story can walk about there.
    pub walkable: bool,
}

impl Background {
    /// "on the moon"
    pub fn at(&self) -> String {
        format!("{} the {}", self.preposition, self.name)
    }

    const fn new(biome: Biome, [emoji, preposition, name, zh]: [&'static str; 4]) -> Self {
        Self { emoji, name, preposition, zh, biome, walkable: true }
    }

    const fn out_of_reach(mut self) -> Self {
        self.walkable = false;
        self
    }
}

// Backgrounds are single rows of a static table: the name tells them apart.
impl PartialEq for Background {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Background {}

/// All backgrounds.
pub static BACKGROUNDS: &[Background] = &[
    Background::new(Biome::Space, ["🌕", "on", "moon", "月球上"]),
    Background::new(Biome::Space, ["🌌", "in", "night sky", "夜空中"]).out_of_reach(),
    Background::new(Biome::Sky, ["🌅", "in", "evening sky", "晚霞中"]).out_of_reach(),
    Background::new(Biome::Sea, ["🌊", "under", "sea", "海底"]).out_of_reach(),
    Background::new(Biome::Shore, ["🏖️", "on", "beach", "海滩上"]),
    Background::new(Biome::Shore, ["🏝️", "on", "island", "小岛上"]),
    Background::new(Biome::Shore, ["⚓", "at", "harbour", "港口"]),
    Background::new(Biome::Shore, ["🏞️", "by", "river", "河边"]),
    Background::new(Biome::Shore, ["🎣", "by", "lake", "湖边"]),
    Background::new(Biome::Town, ["🏙️", "in", "city", "城市里"]),
    Background::new(Biome::Town, ["🏘️", "in", "village", "村子里"]),
    Background::new(Biome::Town, ["🛍️", "at", "market", "集市上"]),
    Background::new(Biome::Town, ["🚉", "at", "station", "车站"]),
    Background::new(Biome::Town, ["🎪", "at", "circus", "马戏团里"]),
    Background::new(Biome::Town, ["🛝", "in", "playground", "游乐场里"]),
    Background::new(Biome::Country, ["🌳", "in", "park", "公园里"]),
    Background::new(Biome::Country, ["🌷", "in", "garden", "花园里"]),
    Background::new(Biome::Country, ["🌾", "on", "farm", "农场里"]),
    Background::new(Biome::Country, ["🌼", "in", "meadow", "草地上"]),
    Background::new(Biome::Forest, ["🌲", "in", "forest", "森林里"]),
    Background::new(Biome::Forest, ["🌴", "in", "jungle", "丛林里"]),
    Background::new(Biome::Desert, ["🏜️", "in", "desert", "沙漠里"]),
    Background::new(Biome::Mountain, ["⛰️", "on", "mountain", "山上"]),
    Background::new(Biome::Mountain, ["🌋", "near", "volcano", "火山旁"]),
    Background::new(Biome::Snow, ["❄️", "on", "ice", "冰面上"]),
    Background::new(Biome::Indoors, ["🍳", "in", "kitchen", "厨房里"]),
    Background::new(Biome::Indoors, ["📚", "in", "library", "图书馆里"]),
    Background::new(Biome::Indoors, ["🏫", "at", "school", "学校里"]),
    Background::new(Biome::Indoors, ["🏰", "in", "castle", "城堡里"]),
];

//! Colours, actions and relations.

/// A colour.
#[derive(Debug, PartialEq, Eq)]
pub struct Colour {
    /// English name.
    pub en: &'static str,
    /// Chinese name, with 色.
    pub zh: &'static str,
}

/// Something an actor does, shown by a mark beside it.
#[derive(Debug, PartialEq, Eq)]
pub struct Action {
    /// "sing"
    pub base: &'static str,
    /// "singing"
    pub participle: &'static str,
    /// 唱歌
    pub zh: &'static str,
    /// The emoji that shows it.
    pub mark: &'static str,
}

/// Where an object is, seen from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relation {
    /// To the left of it.
    LeftOf,
    /// To the right of it.
    RightOf,
    /// Over it, without touching.
    Above,
    /// Under it, without touching.
    Below,
    /// On top of it, touching.
    On,
    /// On either side of it.
    NextTo,
}

impl Relation {
    /// "to the left of"
    pub fn en(self) -> &'static str {
        match self {
            Self::LeftOf => "to the left of",
            Self::RightOf => "to the right of",
            Self::Above => "above",
            Self::Below => "below",
            Self::On => "on top of",
            Self::NextTo => "next to",
        }
    }

    /// What follows the other object's name in Chinese: 左边.
    pub fn zh(self) -> &'static str {
        match self {
            Self::LeftOf => "左边",
            Self::RightOf => "右边",
            Self::Above => "上方",
            Self::Below => "下方",
            Self::On => "上面",
            Self::NextTo => "旁边",
        }
    }
}

/// All relations.
pub static RELATIONS: &[Relation] =
    &[Relation::LeftOf, Relation::RightOf, Relation::Above, Relation::Below, Relation::On, Relation::NextTo];

/// All colours.
#[rustfmt::skip]
pub static COLOURS: &[Colour] = &[
    Colour { en: "red", zh: "红色" },
    Colour { en: "blue", zh: "蓝色" },
    Colour { en: "green", zh: "绿色" },
    Colour { en: "yellow", zh: "黄色" },
    Colour { en: "orange", zh: "橙色" },
    Colour { en: "purple", zh: "紫色" },
    Colour { en: "pink", zh: "粉色" },
    Colour { en: "white", zh: "白色" },
    Colour { en: "black", zh: "黑色" },
    Colour { en: "brown", zh: "棕色" },
];

/// All actions.
#[rustfmt::skip]
pub static ACTIONS: &[Action] = &[
    Action { base: "sleep", participle: "sleeping", zh: "睡觉", mark: "💤" },
    Action { base: "sing", participle: "singing", zh: "唱歌", mark: "🎵" },
    Action { base: "dance", participle: "dancing", zh: "跳舞", mark: "🎶" },
    Action { base: "run", participle: "running", zh: "跑步", mark: "💨" },
    Action { base: "think", participle: "thinking", zh: "思考", mark: "💭" },
    Action { base: "talk", participle: "talking", zh: "说话", mark: "💬" },
    Action { base: "shout", participle: "shouting", zh: "大喊", mark: "🗯️" },
    Action { base: "read", participle: "reading", zh: "看书", mark: "📖" },
    Action { base: "cook", participle: "cooking", zh: "做饭", mark: "🍳" },
    Action { base: "paint", participle: "painting", zh: "画画", mark: "🎨" },
    Action { base: "swim", participle: "swimming", zh: "游泳", mark: "💦" },
    Action { base: "celebrate", participle: "celebrating", zh: "庆祝", mark: "🎉" },
];

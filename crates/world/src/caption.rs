//! A scene in words: English and Chinese.

use crate::{
    grammar::{a, a_clothing, number, number_zh, push_sentences},
    lexicon::WornOn,
    scene::{Clothing, Object, Placement, Scene},
};

impl Scene {
    /// "A cat in a spacesuit is singing on the moon, to the left of three red balloons. A star is above the cat."
    pub fn caption_en(&self) -> String {
        let mut text = String::new();
        for (number, object) in self.objects.iter().enumerate() {
            let placement = self.placements.iter().find(|placement| placement.object == number);
            // What the first object is placed by has been named there.
            if number > 0 && placement.is_none() && self.placements.iter().any(|p| p.object == 0 && p.to == number) {
                continue;
            }
            let mut sentence = if number == 0 { self.opening_en(object) } else { self.further_en(object) };
            if let Some(&Placement { relation, to, .. }) = placement {
                let other = &self.objects[to];
                let other = if number == 0 {
                    phrase_en(other, Doing::Named)
                } else {
                    format!("the {}", other.noun.form(other.count))
                };
                let comma = if number == 0 { "," } else { "" };
                sentence += &format!("{comma} {} {other}", relation.en());
            }
            sentence.push('.');
            if number > 0 {
                text.push(' ');
            }
            push_sentences(&mut text, &sentence);
        }
        text
    }

    /// "月球上，一只穿着宇航服的猫在三个红色的气球左边唱歌。一颗星星在猫上方。"
    pub fn caption_zh(&self) -> String {
        let mut text = String::new();
        for (number, object) in self.objects.iter().enumerate() {
            let placement = self.placements.iter().find(|placement| placement.object == number);
            if number > 0 && placement.is_none() && self.placements.iter().any(|p| p.object == 0 && p.to == number) {
                continue;
            }
            if number == 0 {
                text += self.background.zh;
                let doing = object.action.map(|action| action.zh);
                let phrase = phrase_zh(object, Doing::Left);
                text += &match (placement, doing) {
                    (None, None) => format!("有{phrase}"),
                    (None, Some(doing)) => format!("，{phrase}正在{doing}"),
                    (Some(&Placement { relation, to, .. }), doing) => {
                        let other = phrase_zh(&self.objects[to], Doing::Named);
                        format!("，{phrase}在{other}{}{}", relation.zh(), doing.unwrap_or_default())
                    }
                };
            } else {
                let phrase = phrase_zh(object, Doing::Named);
                text += &match placement {
                    Some(&Placement { relation, to, .. }) => {
                        format!("{phrase}在{}{}", self.objects[to].noun.zh, relation.zh())
                    }
                    None => format!("那里还有{phrase}"),
                };
            }
            text.push('。');
        }
        text
    }

    fn opening_en(&self, object: &Object) -> String {
        let doing = object.action.map(|action| format!("{} ", action.participle)).unwrap_or_default();
        format!("{} {} {doing}{}", phrase_en(object, Doing::Left), is(object), self.background.at())
    }

    fn further_en(&self, object: &Object) -> String {
        let there = if self.placements.iter().any(|p| std::ptr::eq(&self.objects[p.object], object)) {
            ""
        } else {
            " there too"
        };
        format!("{} {}{there}", phrase_en(object, Doing::Named), is(object))
    }
}

/// Whether a noun phrase names the action ("a singing cat") or leaves it to the verb.
#[derive(Clone, Copy, PartialEq)]
enum Doing {
    Named,
    Left,
}

/// "two sleeping frogs", "a cat in a red coat"
fn phrase_en(object: &Object, doing: Doing) -> String {
    let mut phrase = String::new();
    if let Some(colour) = object.colour {
        phrase += colour.en;
        phrase.push(' ');
    }
    if let (Doing::Named, Some(action)) = (doing, object.action) {
        phrase += action.participle;
        phrase.push(' ');
    }
    phrase += object.noun.form(object.count);
    let phrase = if object.count == 1 { a(&phrase) } else { format!("{} {phrase}", number(object.count)) };
    match &object.worn {
        Some(worn) => format!("{phrase} {}", wearing_en(worn, object.count)),
        None => phrase,
    }
}

/// "in a red coat", "wearing crowns", "with a backpack"
pub(crate) fn wearing_en(worn: &Clothing, count: usize) -> String {
    let link = match worn.noun.worn_on {
        Some(WornOn::Body | WornOn::Limbs) => "in",
        Some(WornOn::Back) => "with",
        Some(WornOn::Head | WornOn::Face | WornOn::Neck) | None => "wearing",
    };
    if count == 1 {
        return format!("{link} {}", a_clothing(worn));
    }
    let colour = worn.colour.map(|colour| format!("{} ", colour.en)).unwrap_or_default();
    format!("{link} {colour}{}", worn.noun.plural)
}

/// "两只正在睡觉的青蛙", "一只穿着红色大衣的猫"
fn phrase_zh(object: &Object, doing: Doing) -> String {
    let mut phrase = number_zh(object.count) + object.noun.measure;
    if let Some(colour) = object.colour {
        phrase += colour.zh;
        phrase.push('的');
    }
    if let (Doing::Named, Some(action)) = (doing, object.action) {
        phrase += "正在";
        phrase += action.zh;
        phrase.push('的');
    }
    if let Some(worn) = &object.worn {
        phrase += match worn.noun.worn_on {
            Some(WornOn::Body) => "穿着",
            Some(WornOn::Limbs) if worn.noun.singular == "boots" => "穿着",
            Some(WornOn::Back) => "背着",
            Some(WornOn::Head | WornOn::Face | WornOn::Neck | WornOn::Limbs) | None => "戴着",
        };
        phrase += worn.colour.map_or("", |colour| colour.zh);
        phrase += worn.noun.zh;
        phrase.push('的');
    }
    phrase + object.noun.zh
}

fn is(object: &Object) -> &'static str {
    if object.count == 1 { "is" } else { "are" }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lexicon::{ACTIONS, BACKGROUNDS, COLOURS, Noun, Relation, nouns};

    fn noun(name: &str) -> &'static Noun {
        nouns().find(|noun| noun.singular == name).unwrap()
    }

    fn cat() -> Object {
        Object { worn: Some(Clothing { noun: noun("spacesuit"), colour: None }), ..Object::one(noun("cat")) }
    }

    #[track_caller]
    fn check(objects: Vec<Object>, placements: Vec<Placement>, en: &str, zh: &str) {
        let scene = Scene { background: &BACKGROUNDS[0], objects, placements };
        assert_eq!(scene.caption_en(), en);
        assert_eq!(scene.caption_zh(), zh);
    }

    #[test]
    fn one_object() {
        check(vec![cat()], vec![], "A cat in a spacesuit is on the moon.", "月球上有一只穿着宇航服的猫。");
        check(
            vec![Object { count: 2, action: Some(&ACTIONS[0]), ..Object::one(noun("mouse")) }],
            vec![],
            "Two mice are sleeping on the moon.",
            "月球上，两只老鼠正在睡觉。",
        );
    }

    #[test]
    fn three_objects() {
        let balloons = Object { count: 3, colour: Some(&COLOURS[0]), ..Object::one(noun("balloon")) };
        check(
            vec![Object { action: Some(&ACTIONS[1]), ..cat() }, balloons, Object::one(noun("star"))],
            vec![
                Placement { object: 0, relation: Relation::LeftOf, to: 1 },
                Placement { object: 2, relation: Relation::Above, to: 0 },
            ],
            "A cat in a spacesuit is singing on the moon, to the left of three red balloons. A star is above the cat.",
            "月球上，一只穿着宇航服的猫在三个红色的气球左边唱歌。一颗星星在猫上方。",
        );
    }

    #[test]
    fn what_is_not_placed_is_there() {
        let frogs = Object {
            count: 2,
            worn: Some(Clothing { noun: noun("boots"), colour: Some(&COLOURS[1]) }),
            ..Object::one(noun("frog"))
        };
        check(
            vec![cat(), frogs],
            vec![],
            "A cat in a spacesuit is on the moon. Two frogs in blue boots are there too.",
            "月球上有一只穿着宇航服的猫。那里还有两只穿着蓝色靴子的青蛙。",
        );
    }
}

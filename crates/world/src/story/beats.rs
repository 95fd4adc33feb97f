//! What most stories share: how they begin, how two meet, how they end.

use crate::grammar::clothing;

use super::{
    cast::{Cast, Words},
    teller::{Teller, tell},
};

/// Introduces the hero at home.
pub(super) fn opening(t: &mut Teller, cast: &Cast, words: &Words) {
    let Words { name, a_kind, he, him, his, at0, his_worn, .. } = words;
    t.go(cast, 0);
    match his_worn {
        Some(his_worn) => tell!(
            t,
            "Once upon a time, {a_kind} called {name} lived {at0}. {he} never took off {his_worn}.",
            "{at0} lived {a_kind} called {name}, who never went out without {his_worn}.",
            "{name} was {a_kind} who lived {at0}. Everybody knew {him} by {his_worn}.",
            "There was once {a_kind} {at0}. {his} name was {name}, and {he} was very proud of {his_worn}.",
            "{name}, {a_kind}, lived {at0}. {he} wore {his_worn} all year round.",
        ),
        None => tell!(
            t,
            "Once upon a time, {a_kind} called {name} lived {at0}.",
            "{at0} lived {a_kind} called {name}.",
            "{name} was {a_kind} who had lived {at0} all {his} life.",
            "There was once {a_kind} {at0}. {his} name was {name}, and everybody liked {him}.",
            "This is the story of {name}, {a_kind} who lived {at0}.",
        ),
    }
    t.fact(format!("Who was {name}?"), a_kind);
    t.fact(format!("Where did {name} live?"), at0);
    if let Some(worn) = &cast.hero.worn {
        t.fact(format!("What did {name} always wear?"), &clothing(worn));
    }
}

/// The hero meets the friend, who has not been named yet. The place is plain from the sentence before.
pub(super) fn meeting(t: &mut Teller, cast: &Cast, words: &Words) {
    let Words { name, friend, a_friend, he, .. } = words;
    t.show(cast.friend.object());
    tell!(
        t,
        "There {he} met {friend}, {a_friend}.",
        "{friend}, {a_friend}, was sitting there and humming a song.",
        "The first one to greet {name} there was {friend}, {a_friend}.",
        "An old friend was there, too: {friend}, {a_friend}.",
    );
    t.fact(format!("Who was {friend}?"), a_friend);
    let here = t.here();
    t.fact(format!("Where did {name} meet {friend}?"), &here);
}

/// "One morning", "One windy afternoon", …
pub(super) fn when(t: &mut Teller) -> &'static str {
    const TIMES: [&str; 10] = [
        "one morning",
        "one day",
        "one afternoon",
        "one sunny day",
        "one cold morning",
        "early one morning",
        "one fine day",
        "on Monday",
        "on Sunday",
        "late one afternoon",
    ];
    TIMES[t.draws.below(TIMES.len())]
}

/// Rounds the story off, if there is room for it.
pub(super) fn closing(t: &mut Teller, words: &Words) {
    let Words { name, kind, adjective, his_worn, friend, fkind, at0, .. } = words;
    if !t.has_room() || t.draws.percent(15) {
        return;
    }
    match his_worn {
        Some(his_worn) if t.draws.percent(35) => tell!(
            t,
            "That night, {name} hung {his_worn} by the bed and slept well.",
            "{name} brushed the dust off {his_worn} and smiled.",
            "And {his_worn} had never looked so good.",
        ),
        _ => tell!(
            t,
            "From that day on, {name} and {friend} were the best of friends.",
            "That night, {name} fell asleep {at0} with a smile.",
            "{name} the {adjective} {kind} never forgot that day.",
            "Ever after, {name} told everybody {at0} about {friend}.",
            "“What a good day,” thought the {adjective} {kind}.",
            "After that, the {kind} and the {fkind} met every week.",
        ),
    }
}

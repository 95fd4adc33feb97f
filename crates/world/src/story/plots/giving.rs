//! Things and courage change hands.

use super::*;

/// Two presents, two colours, two names: who gets which?
pub(super) fn deliver(t: &mut Teller, cast: &Cast, words: &Words) {
    let Words { name, he, him, his, friend, a_friend, fhe, third, a_third, the1, the2, at1, at2, .. } = words;
    let [first, second] = t.two_colours();
    let (one, two) = (first.en, second.en);
    let (a_one, a_two) = (a(one), a(two));
    let [gift, other_gift] = t.different(painted_things());
    let (gift, other_gift) = (a(gift.singular), a(other_gift.singular));
    let (parcel, parcel_noun) = match t.draws.below(2) {
        0 => ("box", "box"),
        _ => ("present", "present"),
    };
    let noun = painted_things().iter().find(|noun| noun.singular == parcel_noun);
    let when = when(t);

    opening(t, cast, words);
    tell!(
        t,
        "{he} carried parcels for everyone. {when}, there were two: {a_one} {parcel} for {friend} {at1} and {a_two} {parcel} for {a_third} {at2}.",
        "{when}, {he} had two things to deliver: {a_one} {parcel} for {friend} {at1}, and {a_two} {parcel} for {a_third} {at2}.",
    );
    t.fact(format!("What colour was the {parcel} for {friend}?"), one);
    t.fact(format!("What colour was the {parcel} for the {third}?"), two);
    tell!(
        t,
        "“{one} for {friend}, {two} for the {third},” {he} said to {him}self again and again.",
        "“I must not mix them up,” {he} thought.",
    );
    t.go(cast, 1);
    t.show(cast.friend.object());
    tell!(t, "The way to {the1} was long.", "First {he} went to {the1}.", "{he} sang all the way to {the1}.");
    tell!(t, "{friend}, {a_friend}, opened the door.", "{friend} was {a_friend}, and {fhe} was already waiting.");
    let mixed_up = t.draws.percent(50);
    if mixed_up {
        if let Some(noun) = noun {
            t.show_some(noun, 1, Some(second));
        }
        tell!(
            t,
            "{name} gave {friend} the {two} {parcel}. “But mine is {one}!” said {friend}. “{two} is for the {third}.”",
            "“Here is your {two} {parcel},” said {name}. “Is mine not {one}?” asked {friend}.",
        );
        tell!(
            t,
            "“You are right,” said {name}, and quickly gave {friend} the {one} one.",
            "{name} blushed and took the {one} one out of {his} bag.",
        );
    } else {
        if let Some(noun) = noun {
            t.show_some(noun, 1, Some(first));
        }
        tell!(
            t,
            "{name} gave {friend} the {one} {parcel}.",
            "“The {one} {parcel} is for you,” said {name}. “Thank you,” said {friend}.",
        );
    }
    tell!(
        t,
        "In it was {gift}.",
        "{friend} opened it at once and found {gift}.",
        "It was {gift}, just what {fhe} had wished for."
    );
    t.fact(format!("What was in the {parcel} for {friend}?"), &gift);
    t.go(cast, 2);
    t.show(Object::one(cast.third));
    if let Some(noun) = noun {
        t.show_some(noun, 1, Some(second));
    }
    tell!(
        t,
        "Then {name} went on to {the2} and gave the {two} {parcel} to the {third}.",
        "{at2}, the {third} got the {two} {parcel}.",
    );
    tell!(
        t,
        "“{other_gift}!” cried the {third}. “How did they know?”",
        "The {third} shook it, listened, and opened it slowly. It was {other_gift}.",
    );
    t.fact(format!("What was in the {parcel} for the {third}?"), &other_gift);
    if t.has_room() {
        tell!(
            t,
            "On the way back, {name} thought: “{gift} for {friend}, {other_gift} for the {third}, and a good day for me.”",
            "And because {name} had come such a long way, the {third} gave {him} a cup of tea.",
            "“{one} and {two} are my lucky colours,” said {name}.",
        );
    }
    closing(t, words);
}

/// A chain of trades leads to what the hero wants.
pub(super) fn swap(t: &mut Teller, cast: &Cast, words: &Words) {
    let Words { name, he, his, friend, fhe, third, a_third, the1, the2, at2, .. } = words;
    let [have, want, between] = t.different(painted_things());
    let [hue, other] = t.two_colours();
    let (mine, wish, bridge) = (have.singular, format!("{} {}", other.en, want.singular), between.singular);
    let (a_mine, a_wish, a_bridge) = (a(&format!("{} {mine}", hue.en)), a(&wish), a(bridge));
    let (coloured, a_mine_bare) = (format!("{} {mine}", hue.en), a(mine));
    let when = when(t);

    opening(t, cast, words);
    t.show_some(have, 1, Some(hue));
    tell!(
        t,
        "{he} had {a_mine}, but what {he} really wanted was {a_wish}.",
        "{he} owned {a_mine}. Yet every night {he} dreamed of {a_wish}.",
        "All that {he} had was {a_mine}, and all that {he} wished for was {a_wish}.",
    );
    t.fact(format!("What did {name} want most of all?"), &a_wish);
    tell!(
        t,
        "“I know {a_third} {at2} that has one,” {he} thought. “But what does the {third} want?”",
        "Now, {a_third} {at2} had such a thing, but would only give it away for {a_bridge}.",
    );
    t.go(cast, 1);
    tell!(t, "{when}, {name} went to {the1}.", "{when}, {he} walked to {the1} with the {mine} in {his} bag.");
    meeting(t, cast, words);
    t.show_some(between, 1, None);
    tell!(
        t,
        "“What a nice {mine}!” said {friend}. “I would give you my {bridge} for it.”",
        "{friend} had {a_bridge}, but {fhe} never used it. “Will you take my {coloured} for it?” asked {name}.",
        "“I have {a_bridge},” said {friend}, “but I would rather have {a_mine_bare} like yours.”",
    );
    tell!(
        t,
        "So {name} gave {friend} the {mine} and got the {bridge}.",
        "They shook hands. Now {friend} had the {coloured}, and {name} had the {bridge}.",
    );
    t.fact(format!("What did {name} get for the {mine}?"), &format!("the {bridge}"));
    t.go(cast, 2);
    t.show(Object::one(cast.third));
    t.show_some(want, 1, Some(other));
    tell!(
        t,
        "Then {he} carried the {bridge} to {the2}. “I have been looking for {a_bridge} for years,” said the {third}.",
        "{at2}, the {third} saw the {bridge} from far away. “Is it for me?” it asked.",
    );
    tell!(
        t,
        "The {third} took it and gave {name} the {wish}.",
        "“It is yours,” said {name}, “if I may have your {wish}.” And so it was done.",
    );
    if t.has_room() {
        tell!(
            t,
            "{friend} was happy with the {mine}, the {third} with the {bridge}, and {name} with the {wish}.",
            "That evening, {name} held the {wish} in {his} arms and could hardly believe it.",
            "First the {coloured}, then the {bridge}, and now the {wish}: {name} laughed out loud.",
        );
    }
    closing(t, words);
}

/// Somebody too shy to perform finds the courage.
pub(super) fn show(t: &mut Teller, cast: &Cast, words: &Words) {
    let Words { name, kind, he, him, his, friend, fhe, third, a_third, the1, the2, at0, at2, .. } = words;
    let performances = ["sing", "dance", "paint", "cook", "read"];
    let actions: Vec<_> = ACTIONS.iter().filter(|action| performances.contains(&action.base)).collect();
    let action = *t.draws.pick(&actions);
    let (verb, doing) = (action.base, action.participle);
    let past = match verb {
        "sing" => "sang",
        "read" => "read",
        "dance" => "danced",
        "paint" => "painted",
        _ => "cooked",
    };
    let [prize] = t.different(painted_things());
    let hue = t.draws.pick(COLOURS);
    let prize_name = format!("{} {}", hue.en, prize.singular);
    let a_prize = a(&prize_name);
    let place = *t.draws.pick(&["first", "second", "third"]);
    let when = when(t);

    opening(t, cast, words);
    tell!(
        t,
        "{he} loved to {verb}, but only when nobody was looking.",
        "{he} could {verb} better than anyone {at0}, but no one knew, for {he} never did it in front of others.",
        "{doing} was what {he} liked best. But as soon as someone came near, {he} stopped.",
    );
    tell!(
        t,
        "{when}, {name} read about a contest {at2}: “who can {verb} best? You can win {a_prize}!”",
        "{when}, {he} saw a poster for a {doing} contest {at2}. The prize was {a_prize}.",
    );
    t.fact("What was the prize of the contest?".to_owned(), &a_prize);
    t.go(cast, 1);
    tell!(t, "{name} went to {the1} to think.", "To practise in peace, {he} went to {the1}.");
    meeting(t, cast, words);
    tell!(
        t,
        "“I would like to win the {prize_name},” said {name}, “but my knees shake.” “Then look only at me,” said {friend}.",
        "“Why are you so pale?” asked {friend}. “I want to {verb} at the contest,” said {name}. “Do it for me,” said {friend}. “Forget the others.”",
        "{friend} watched {him} for a while. “You are wonderful,” {fhe} said. “When you are afraid, think of me.”",
    );
    t.go(cast, 2);
    t.show(Object::one(cast.third));
    tell!(
        t,
        "On the day of the contest, {the2} was full. First came {a_third}, and the {third} was very good.",
        "{at2}, {a_third} began, and everyone clapped.",
    );
    tell!(
        t,
        "Then it was {name}'s turn. {he} looked for {friend}, took a deep breath, and {past}.",
        "When {name} was called, {he} could see nothing but {friend}. And {he} {past} as never before.",
    );
    if place == "first" {
        t.show_some(prize, 1, Some(hue));
        tell!(
            t,
            "{name} won, and {friend} was the first to shake {his} hand. The {prize_name} stands {at0} to this day.",
            "“The {prize_name} goes to {name}!” called the {third}, and it did not even mind.",
        );
        t.fact("Who won the contest?".to_owned(), name);
    } else {
        tell!(
            t,
            "{name} came {place}. The {prize_name} went to the {third}, but that did not matter: the fear was gone.",
            "The {third} won the {prize_name}, and {name} came {place}. “Next year it will be yours,” said {friend}.",
        );
        t.fact("Who won the contest?".to_owned(), &format!("the {third}"));
    }
    if t.has_room() {
        tell!(
            t,
            "“Were you afraid?” asked {friend}. “Only until I saw you,” said {name}.",
            "Since that day, the {kind} has been {doing} in front of everybody.",
        );
    }
    closing(t, words);
}

/// A present must have the right colour.
pub(super) fn choice(t: &mut Teller, cast: &Cast, words: &Words) {
    let Words { name, he, him, his, friend, a_friend, fhe, fhis, fkind, third, a_third, the1, the2, at1, at2, .. } =
        words;
    let [noun] = t.different(painted_things());
    let (thing, things) = (noun.singular, noun.plural);
    let [hue, other] = t.two_colours();
    let (colour, wrong) = (hue.en, other.en);
    let (a_right, a_wrong, a_thing) = (a(&format!("{colour} {thing}")), a(wrong), a(thing));
    let coins = t.draws.between(3, 9);
    let price = t.draws.between(1, coins - 1);
    let (n_coins, n_price, n_rest) = (number(coins), number(price), number(coins - price));
    let coins_price = if price == 1 { "coin" } else { "coins" };
    let coins_rest = if coins - price == 1 { "coin" } else { "coins" };
    let when = when(t);

    opening(t, cast, words);
    tell!(
        t,
        "{his} best friend was {friend}, {a_friend} who lived {at2}.",
        "{he} had a friend {at2}: {friend}, {a_friend}.",
    );
    tell!(
        t,
        "It was {friend}'s birthday, and {fhe} loved everything that was {colour}.",
        "For {fhis} birthday, {friend} had only one wish: {a_right}.",
    );
    t.fact(format!("Which colour did {friend} like?"), colour);
    tell!(
        t,
        "{when}, {name} took {his} {n_coins} coins and went shopping.",
        "{name} had saved {n_coins} coins. {when}, {he} set off to buy a present.",
    );
    t.fact(format!("How many coins did {name} have at first?"), &n_coins);
    t.go(cast, 1);
    t.show(Object::one(cast.third));
    t.show_some(noun, 2, None);
    tell!(
        t,
        "{at1}, {a_third} was selling {things}. “Would you like {a_wrong} one?” asked the {third}.",
        "{he} went to {the1}, where {a_third} kept a little stall full of {things}. “The {wrong} one is very beautiful,” said the {third}.",
    );
    tell!(
        t,
        "“No, it must be {colour},” said {name}. “It is for {friend}.”",
        "{name} thought of {friend} and shook {his} head. “I need {a_right},” {he} said.",
    );
    tell!(
        t,
        "The {third} looked under the table and found {a_right}. “{n_price} {coins_price}, please.”",
        "“I have just one of those,” said the {third}. “It costs {n_price} {coins_price}.”",
    );
    t.fact(format!("How much did the {thing} cost?"), &format!("{n_price} {coins_price}"));
    tell!(
        t,
        "{name} paid and had {n_rest} {coins_rest} left.",
        "That left {name} with {n_rest} {coins_rest}, enough for the bus.",
        "{name} gave the {third} {n_price} and kept {n_rest}.",
    );
    t.go(cast, 2);
    t.show(cast.friend.object());
    t.show_some(noun, 1, Some(hue));
    tell!(
        t,
        "{friend} was waiting {at2}. “{a_thing}!” {fhe} cried. “And it is {colour}!”",
        "When {name} came to {the2}, {friend} ran to meet {him}. {fhe} opened the present and jumped for joy: it was {colour}!",
    );
    if t.has_room() {
        tell!(
            t,
            "“How did you know?” asked {friend}. “I know my {fkind},” said {name}.",
            "They played with the {colour} {thing} until the stars came out.",
            "“{wrong} would have been nice, too,” said {friend}, “but {colour} is the best.”",
        );
    }
    closing(t, words);
}

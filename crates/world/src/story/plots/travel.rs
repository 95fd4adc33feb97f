//! Journeys, breakdowns and rescues.

use super::*;

/// A wish to see a far place comes true.
pub(super) fn trip(t: &mut Teller, cast: &Cast, words: &Words) {
    let Words { name, he, him, his, friend, fhe, fhis, third, a_third, the0, the1, the2, at0, at1, at2, .. } = words;
    let vehicle = t.draws.pick(VEHICLES);
    let hue = t.draws.pick(COLOURS);
    let colour = if vehicle.paintable { Some(hue) } else { None };
    let vehicle_name = vehicle.singular;
    let ride = a(&colour.map_or(vehicle_name.to_owned(), |colour| format!("{} {vehicle_name}", colour.en)));
    let [seen] = t.different(painted_things());
    let seen_hue = t.draws.pick(COLOURS);
    let count = t.draws.between(2, 9);
    let (n_seen, seen_name) = (number(count), format!("{} {}", seen_hue.en, seen.plural));
    let when = when(t);

    opening(t, cast, words);
    tell!(
        t,
        "All {his} life {he} had wanted to see {the2}.",
        "{he} had a picture of {the2} over {his} bed, and {he} looked at it every night.",
        "“What is it like {at2}?” {he} asked everybody, but nobody knew.",
    );
    t.fact(format!("Which place did {name} want to see?"), the2);
    t.go(cast, 1);
    tell!(t, "{when}, {he} packed a bag and walked to {the1}.", "{when}, {name} set off and came as far as {the1}.");
    meeting(t, cast, words);
    t.show_some(vehicle, 1, colour);
    tell!(
        t,
        "“I want to go to {the2},” said {name}, “but it is too far to walk.” “Look,” said {friend}, “I have {ride}.”",
        "Next to {friend} stood {ride}. “Where do you want to go?” {fhe} asked. “To {the2},” said {name}. “Then get in!”",
        "{friend} owned {ride} and was bored {at1}. “Let us go to {the2},” {fhe} said.",
    );
    t.fact(format!("What did {friend} have to travel in?"), &ride);
    t.go(cast, 2);
    t.show(cast.friend.object());
    t.show_some(seen, count, Some(seen_hue));
    tell!(
        t,
        "The {vehicle_name} shook and rattled, and after a day and a night they were there.",
        "{name} held on to the {vehicle_name} and kept {his} eyes shut until {friend} said, “We are there.”",
        "They sang all the way, and the {vehicle_name} hummed along.",
    );
    tell!(
        t,
        "{at2} they counted {n_seen} {seen_name}. No one had ever told {him} about that!",
        "{the2} was more beautiful than in any picture. There were {n_seen} {seen_name}, and nobody to play with them.",
    );
    t.fact(format!("How many {} were there?", seen.plural), &n_seen);
    if t.has_room() {
        t.show(Object::one(cast.third));
        tell!(
            t,
            "“Take one home,” said {a_third} that lived there. So {name} took one, and {friend} did not want any.",
            "{a_third} came and asked if they would stay. “For one night,” said {name}. The {third} made soup.",
        );
    }
    tell!(
        t,
        "When {he} was back {at0}, everyone asked, “What did you see?” “{n_seen} {seen_name},” said {name}, “and I would go again tomorrow.”",
        "Then {friend} turned {fhis} {vehicle_name} round and took {him} back to {the0}. Now {name} knew what it was like {at2}.",
        "At home {name} painted a new picture, with {n_seen} {seen_name} and {ride} in it.",
    );
    closing(t, words);
}

/// A vehicle breaks down; the right tool is with somebody else.
pub(super) fn repair(t: &mut Teller, cast: &Cast, words: &Words) {
    let Words { name, he, his, friend, fhe, fhis, third, a_third, the0, the1, the2, at1, .. } = words;
    let models = ["car", "bus", "truck", "tractor", "bicycle", "motorbike", "scooter"];
    let vehicles: Vec<_> = VEHICLES.iter().filter(|vehicle| models.contains(&vehicle.singular)).collect();
    let vehicle = *t.draws.pick(&vehicles);
    let vehicle_name = vehicle.singular;
    let hue = t.draws.pick(COLOURS);
    let colour = hue.en;
    let a_vehicle = a(&format!("{colour} {vehicle_name}"));
    let kit = ["hammer", "screwdriver", "wrench", "saw", "battery"];
    let tools: Vec<_> = TOOLS.iter().filter(|tool| kit.contains(&tool.singular)).collect();
    let (tool, wrong) = {
        let first = t.draws.below(tools.len());
        let second = (first + t.draws.between(1, tools.len() - 1)) % tools.len();
        (tools[first], tools[second])
    };
    let (a_tool, a_wrong, tool_name) = (a(tool.singular), a(wrong.singular), tool.singular);
    let noise = *t.draws.pick(&["bang", "crack", "clank", "puff", "hiss"]);
    let when = when(t);

    opening(t, cast, words);
    t.show_some(vehicle, 1, Some(hue));
    tell!(
        t,
        "{he} had {a_vehicle} and took good care of it.",
        "{his} greatest joy was {a_vehicle}.",
        "With {his} savings {he} had bought {a_vehicle}.",
    );
    t.fact(format!("What did {name} own?"), &a_vehicle);
    t.go(cast, 1);
    tell!(
        t,
        "{when}, {he} was on {his} way to {the2} when it went “{noise}!” and stopped {at1}.",
        "{when}, {name} came past {the1}. “{noise}!” went the {vehicle_name}, and then it did not move any more.",
    );
    t.show(Object::one(cast.third));
    tell!(
        t,
        "{a_third} looked at it from all sides. “You need {a_tool},” said the {third}. “I only have {a_wrong}.”",
        "“Can you help me?” {he} asked {a_third}. The {third} tried {a_wrong}, but that was no good. “It takes {a_tool},” it said.",
    );
    t.fact(format!("What was needed to repair the {vehicle_name}?"), &a_tool);
    t.fact(format!("What did the {third} have?"), &a_wrong);
    tell!(
        t,
        "So {name} left the {vehicle_name} with the {third} and walked on to {the2}.",
        "“Wait here,” said {name} to the {third}, and ran to {the2}.",
    );
    t.go(cast, 2);
    meeting(t, cast, words);
    t.show_some(tool, 1, None);
    tell!(
        t,
        "“Could you lend me {a_tool}?” asked {name}. {friend} took one out of {fhis} pocket. “Here it is.”",
        "“My {vehicle_name} is broken, and I need {a_tool},” said {name}. “What luck! I have one,” said {friend}.",
        "{friend} was just working with {a_tool}. “You may have it,” {fhe} said, “if I may ride with you.”",
    );
    tell!(
        t,
        "Together they went back, and with the {tool_name} it took only a minute.",
        "They ran back to {the1}. {friend} used the {tool_name}, and {name} held the lamp.",
        "Back {at1}, {name} turned and knocked and pulled with the {tool_name} until it fitted.",
    );
    tell!(
        t,
        "The {colour} {vehicle_name} started at once. “All aboard!” called {name}, and they took the {third} along.",
        "The {vehicle_name} was as good as new. {name} took {friend} and the {third} for a ride to {the0}.",
        "“It works!” cried the {third}. They gave the {tool_name} a place of honour in the {colour} {vehicle_name}.",
    );
    closing(t, words);
}

/// Somebody is in trouble; the hero fetches the right tool.
pub(super) fn rescue(t: &mut Teller, cast: &Cast, words: &Words) {
    let Words { name, kind, he, his, friend, fhe, third, a_third, the1, the2, at1, .. } = words;
    let troubles = [
        ("had fallen into a deep hole", "ladder", format!("the {third} climbed out, one step after the other")),
        ("had lost its way in a dark tunnel", "torch", format!("the {third} saw the light and came running")),
        ("was locked in behind a heavy gate", "key", format!("the gate opened, and the {third} came out")),
        ("was drifting away on a tiny raft", "fishing rod", "they pulled the raft back".to_owned()),
        ("was stuck under a fallen branch", "saw", "they cut the branch in two".to_owned()),
        ("was stuck between two stones", "pickaxe", "they broke the smaller stone".to_owned()),
    ];
    let (trouble, tool_name, end) = t.draws.pick(&troubles);
    let tool = TOOLS.iter().find(|tool| tool.singular == *tool_name);
    let a_tool = a(tool_name);
    let hours = number(t.draws.between(2, 9));
    let [thanks] = t.different(painted_things());
    let thanks_colour = t.draws.pick(COLOURS);
    let gift = a(&format!("{} {}", thanks_colour.en, thanks.singular));
    let when = when(t);

    opening(t, cast, words);
    t.go(cast, 1);
    t.show(Object::one(cast.third));
    tell!(
        t,
        "{when}, {name} was walking past {the1} when {he} heard a cry for help.",
        "{when}, {he} went to {the1}. “Help!” called a thin voice.",
    );
    tell!(
        t,
        "It was {a_third} that {trouble}. “I have been here for {hours} hours,” it said.",
        "{a_third} {trouble}. “Please do something,” said the {third}. “It has been {hours} hours!”",
    );
    t.fact(format!("How long had the {third} waited for help?"), &format!("{hours} hours"));
    tell!(
        t,
        "“Do not worry,” said {name}. “I only need {a_tool}.”",
        "{name} tried with {his} bare hands, but it was no use. “I will get {a_tool},” {he} said.",
        "“Without {a_tool} I can do nothing,” said {name}. “But I will be back.”",
    );
    t.fact(format!("What did {name} need to help the {third}?"), &a_tool);
    t.go(cast, 2);
    tell!(t, "{he} ran to {the2} as fast as {he} could.", "Out of breath, {name} came to {the2}.");
    meeting(t, cast, words);
    if let Some(tool) = tool {
        t.show_some(tool, 1, None);
    }
    tell!(
        t,
        "“Have you got {a_tool}?” asked {name}. “The {third} is in trouble!” “Yes,” said {friend}, “and I am coming with you.”",
        "“I need {a_tool} for the {third},” said {name}. {fhe} asked no questions and took {a_tool} from the wall.",
    );
    tell!(
        t,
        "They hurried back with the {tool_name}, and {end}.",
        "Soon they were back {at1}. Thanks to the {tool_name}, {end}.",
    );
    tell!(
        t,
        "“{hours} hours!” said the {third}. “I will never forget what you did.” It gave {name} {gift}.",
        "The {third} was free. The next day it brought {gift} for {name} and a cake for {friend}.",
        "“You are the bravest {kind} I know,” said the {third}, and {name} turned red.",
    );
    closing(t, words);
}

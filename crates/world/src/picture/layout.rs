//! Where the things of a scene stand.

use super::paint::Square;
use crate::{
    Object, Scene,
    lexicon::{Biome, Relation, Size},
    rng::Draws,
};

/// A group of things of one kind.
#[derive(Clone, Copy, Debug)]
struct Group {
    left: f64,
    top: f64,
    width: f64,
    height: f64,
    /// Of one thing.
    side: f64,
    columns: usize,
}

/// Room between groups, and at the edges.
const GAP: f64 = 0.02;
/// How far what stands on something reaches into its square: sprites have margins.
const SUNK: f64 = 0.1;

/// The square of each thing of each object, within the canvas.
pub(super) fn layout(scene: &Scene, draws: &mut Draws) -> Vec<Vec<Square>> {
    let mut groups: Vec<Group> = scene.objects.iter().map(|object| group(object, draws)).collect();
    let mut placed = vec![false; groups.len()];
    // The first is placed by the second, the third by one of both.
    let mut order: Vec<usize> = (0..scene.placements.len()).collect();
    order.sort_by_key(|&i| scene.placements[i].object == 2);
    if let Some(&first) = order.first() {
        placed[scene.placements[first].to] = true;
    }
    for i in order {
        let placement = scene.placements[i];
        let to = groups[placement.to];
        let right = draws.percent(50);
        beside(&mut groups[placement.object], to, placement.relation, right, draws);
        placed[placement.object] = true;
        // Away from what stands there already.
        for _ in 0..8 {
            let own = groups[placement.object];
            let clash = |k: usize| k != placement.object && k != placement.to && placed[k] && overlap(own, groups[k]);
            if !(0..groups.len()).any(clash) {
                break;
            }
            push(&mut groups[placement.object], placement.relation, right);
        }
    }
    fit(&mut groups, scene.background.biome, draws);
    groups.iter().zip(&scene.objects).map(|(group, object)| squares(group, object.count)).collect()
}

fn group(object: &Object, draws: &mut Draws) -> Group {
    let usual = match object.noun.size {
        Size::Large => 0.36,
        Size::Medium => 0.28,
        Size::Small => 0.2,
    };
    let side = usual * (0.85 + 0.3 * unit(draws));
    let columns = match object.count {
        n @ 1..=3 => n,
        4 => 2,
        _ => 3,
    };
    let rows = object.count.div_ceil(columns);
    Group { left: 0.0, top: 0.0, width: side * columns as f64, height: side * rows as f64, side, columns }
}

/// From 0 up to 1.
fn unit(draws: &mut Draws) -> f64 {
    draws.below(1 << 20) as f64 / (1u64 << 20) as f64
}

fn beside(own: &mut Group, to: Group, relation: Relation, right: bool, draws: &mut Draws) {
    let along = |own: f64, to: f64, draws: &mut Draws| (to - own) / 2.0 + (unit(draws) - 0.5) * 0.3 * own.min(to);
    // What stands beside something stands on the same ground.
    let level = to.top + to.height - own.height;
    match relation {
        Relation::LeftOf => (own.left, own.top) = (to.left - own.width - GAP, level),
        Relation::RightOf => (own.left, own.top) = (to.left + to.width + GAP, level),
        Relation::NextTo if right => (own.left, own.top) = (to.left + to.width + GAP, level),
        Relation::NextTo => (own.left, own.top) = (to.left - own.width - GAP, level),
        Relation::Above => {
            own.left = to.left + along(own.width, to.width, draws);
            own.top = to.top - own.height - 4.0 * GAP;
        }
        Relation::Below => {
            own.left = to.left + along(own.width, to.width, draws);
            own.top = to.top + to.height + 4.0 * GAP;
        }
        Relation::On => {
            own.left = to.left + (to.width - own.width) / 2.0;
            own.top = to.top - own.height + SUNK * to.side;
        }
    }
}

fn overlap(a: Group, b: Group) -> bool {
    a.left < b.left + b.width && b.left < a.left + a.width && a.top < b.top + b.height && b.top < a.top + a.height
}

fn push(group: &mut Group, relation: Relation, right: bool) {
    let step = 0.1;
    match relation {
        Relation::LeftOf => group.left -= step,
        Relation::RightOf => group.left += step,
        Relation::NextTo => group.left += if right { step } else { -step },
        Relation::Above => group.top -= step,
        Relation::Below => group.top += step,
        // It cannot leave what it stands on, only move along its top.
        Relation::On => group.left += if right { step / 2.0 } else { -step / 2.0 },
    }
}

/// Moves all into the canvas, made smaller where they are too large for it.
fn fit(groups: &mut [Group], biome: Biome, draws: &mut Draws) {
    let least = |f: fn(&Group) -> f64| groups.iter().map(f).fold(f64::INFINITY, f64::min);
    let (left, top) = (least(|g| g.left), least(|g| g.top));
    let width = -least(|g| -(g.left + g.width)) - left;
    let height = -least(|g| -(g.top + g.height)) - top;
    let room = 1.0 - 2.0 * GAP;
    let scale = (room / width.max(height)).min(1.0);
    let free = |size: f64| 1.0 - 2.0 * GAP - size * scale;
    let x = GAP + free(width) * unit(draws);
    // On the ground, where there is one.
    let down = match biome {
        Biome::Sky | Biome::Space | Biome::Sea => unit(draws),
        _ => 0.5 + 0.5 * unit(draws),
    };
    let y = GAP + free(height) * down;
    for g in groups {
        (g.left, g.top) = (x + (g.left - left) * scale, y + (g.top - top) * scale);
        (g.width, g.height, g.side) = (g.width * scale, g.height * scale, g.side * scale);
    }
}

fn squares(group: &Group, count: usize) -> Vec<Square> {
    let square = |i: usize| {
        let (row, column) = (i / group.columns, i % group.columns);
        // The last row stands in the middle.
        let in_row = (count - row * group.columns).min(group.columns);
        let indent = (group.columns - in_row) as f64 / 2.0;
        Square {
            left: group.left + (indent + column as f64) * group.side,
            top: group.top + row as f64 * group.side,
            side: group.side,
        }
    };
    (0..count).map(square).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{Split, World, rng::Key};

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn everything_is_on_the_canvas_and_where_the_caption_says(seed: u64, index: u64) {
            let scene = World::new(seed).scene(Split::Train, index);
            let all = layout(&scene, &mut Key::new(seed).draws());
            for (squares, object) in all.iter().zip(&scene.objects) {
                prop_assert_eq!(squares.len(), object.count);
                for s in squares {
                    prop_assert!(s.left >= 0.0 && s.top >= 0.0 && s.left + s.side <= 1.0 && s.top + s.side <= 1.0, "{:?}", s);
                    prop_assert!(s.side > 0.03, "{s:?}");
                }
            }
            let edge = |i: usize, f: fn(&Square) -> f64| all[i].iter().map(f).fold(f64::NEG_INFINITY, f64::max);
            for p in &scene.placements {
                let (left, right) = (|s: &Square| -s.left, |s: &Square| s.left + s.side);
                let (top, bottom) = (|s: &Square| -s.top, |s: &Square| s.top + s.side);
                let (a, b) = (p.object, p.to);
                let slack = 1e-9;
                let before = edge(a, right) <= -edge(b, left) + slack;
                let behind = edge(b, right) <= -edge(a, left) + slack;
                let over = edge(a, bottom) <= -edge(b, top) + SUNK * 0.5;
                let holds = match p.relation {
                    Relation::LeftOf => before,
                    Relation::RightOf => behind,
                    Relation::NextTo => before || behind,
                    Relation::Above | Relation::On => over,
                    Relation::Below => edge(b, bottom) <= -edge(a, top) + slack,
                };
                prop_assert!(holds, "{} {:?} {:?}", scene.caption_en(), p, all);
            }
        }
    }
}

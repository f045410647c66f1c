//! A world made as small as it gets while it is still wrong: what can be left out of it, is.

use crate::model::item::{Item, Value};

use super::world::World;

/// The smallest world that is still `wrong`: whatever can be left out, is. At most `tries` worlds are looked at.
pub fn reduced(world: &World, mut tries: usize, wrong: impl Fn(&World) -> bool) -> World {
    let mut smallest = world.clone();
    loop {
        let candidates = smaller(&smallest);
        let found = candidates.into_iter().take(tries).find(|world| {
            tries -= 1;
            wrong(world)
        });
        match found {
            Some(world) => smallest = world,
            None => return smallest,
        }
    }
}

/// Worlds with one thing less, the greatest things first.
fn smaller(world: &World) -> Vec<World> {
    let mut worlds = Vec::new();
    let mut less = |change: &dyn Fn(&mut World) -> bool| {
        let mut one = world.clone();
        if change(&mut one) {
            worlds.push(one);
        }
    };
    let steps = world.steps.len();
    for length in [steps / 2, steps / 4, 1] {
        for start in (0..steps).step_by(length.max(1)).filter(|_| length > 0) {
            less(&|world| {
                world.steps.drain(start..(start + length).min(steps));
                true
            });
        }
    }
    for index in 0..world.items.len() {
        less(&|world| {
            world.items.remove(index);
            true
        });
    }
    for index in 0..steps {
        less(&|world| std::mem::take(&mut world.steps[index].take_over));
        less(&|world| world.steps[index].change.take().is_some());
        less(&|world| world.steps[index].swipe.direction.take().is_some());
        less(&|world| std::mem::take(&mut world.steps[index].swipe.offline));
    }
    for index in 0..world.items.len() {
        let parts = parts(&world.items[index]);
        for part in 0..parts {
            less(&|world| {
                drop_part(&mut world.items[index], &mut { part });
                true
            });
        }
    }
    worlds
}

/// How many things an item has that can be left out: attributes, entries of lists, whatever is in them.
fn parts(item: &Item) -> usize {
    let values = item.iter().filter(|(name, _)| !is_key(name));
    values.map(|(_, value)| 1 + parts_within(value)).sum()
}

fn is_key(name: &str) -> bool {
    ["PK", "SK"].contains(&name)
}

fn parts_within(value: &Value) -> usize {
    match value {
        Value::List(entries) => entries.iter().map(|entry| 1 + parts_within(entry)).sum(),
        Value::Map(map) => parts(map),
        _ => 0,
    }
}

/// Leaves out the `left`-th thing; counts down until it is met.
fn drop_part(item: &mut Item, left: &mut usize) -> bool {
    for name in item.keys().cloned().collect::<Vec<_>>() {
        if is_key(&name) {
            continue;
        }
        if *left == 0 {
            item.remove(&name);
            return true;
        }
        *left -= 1;
        if item
            .get_mut(&name)
            .is_some_and(|value| drop_within(value, left))
        {
            return true;
        }
    }
    false
}

fn drop_within(value: &mut Value, left: &mut usize) -> bool {
    match value {
        Value::List(entries) => {
            for index in 0..entries.len() {
                if *left == 0 {
                    entries.remove(index);
                    return true;
                }
                *left -= 1;
                if drop_within(&mut entries[index], left) {
                    return true;
                }
            }
            false
        }
        Value::Map(map) => drop_part(map, left),
        _ => false,
    }
}

//! The cards of the generated world: who they belong to, and what is wrong with them.
//!
//! A card is what its index makes it; nothing is stored but the seed, the number of cards and the instant of
//! seeding. So `seed` and `run`, in two processes, mean the same cards, and the answer to a swipe is known from
//! how its card was made.

mod role;

pub use role::Role;

use crate::{
    item::{Item, Value},
    places::{self, SITES},
    rights,
};

/// Cards that change while swipes flow: the first of the population.
pub const CHURN_CARDS: usize = 40;

/// Cards of a block; each block holds every role.
const BLOCK: usize = 100;

/// Fewest cards that hold every role.
pub const CARDS_MIN: usize = CHURN_CARDS + BLOCK;

/// Most cards: twelve digits, of which the first tells known cards from unknown ones.
pub const CARDS_MAX: usize = 100_000_000;

const DAY_S: i64 = 86_400;

/// A number of cards as the command line spells it.
///
/// # Errors
/// When it is no number, or too small to hold every role, or too large for card numbers.
pub fn card_count(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(cards) if (CARDS_MIN..=CARDS_MAX).contains(&cards) => Ok(cards),
        _ => Err(format!("use {CARDS_MIN} to {CARDS_MAX} cards")),
    }
}

/// What a churn card is at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CardState {
    /// In use.
    Issued,
    /// Withdrawn.
    Revoked,
    /// Reported lost.
    Lost,
    /// In the pool.
    Unissued,
    /// No item at all.
    Deleted,
}

/// A card by its number, with its place in the world.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Card {
    /// What the reader reads.
    pub id: String,
    /// Index of its home in [`SITES`].
    pub home: usize,
}

/// The world, as three numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Population {
    /// How many cards, [`CARDS_MIN`] to [`CARDS_MAX`].
    pub cards: usize,
    /// Seed of everything that is drawn.
    pub seed: u64,
    /// When it was seeded: Unix epoch ms.
    pub seeded_at_ms: i64,
}

impl Population {
    /// The card of a role, the one that `draw` picks.
    pub fn card_of(&self, role: Role, draw: &mut fastrand::Rng) -> Card {
        let mut start = 0;
        let mut width = 1;
        for (slot, cards) in Role::SLOTS {
            width = cards;
            if slot == role {
                break;
            }
            start += cards;
        }
        let block = draw.usize(..(self.cards - CHURN_CARDS) / BLOCK);
        self.card(CHURN_CARDS + block * BLOCK + start + draw.usize(..width))
    }

    /// The churn card of that number.
    pub fn churn_card(&self, number: u16) -> Card {
        self.card(usize::from(number))
    }

    /// A card number that nobody holds.
    pub fn unknown_card(&self, draw: &mut fastrand::Rng) -> String {
        format!("9{:011}", draw.u32(..))
    }

    fn card(&self, index: usize) -> Card {
        // One card in ten keeps the leading zero that makes a card number text.
        let lead = if index % 10 == 7 { 0 } else { 1 };
        Card {
            id: format!("{lead}{index:011}"),
            home: (index / BLOCK + index) % SITES.len(),
        }
    }

    fn role(index: usize) -> Role {
        let mut place = (index - CHURN_CARDS) % BLOCK;
        for (role, cards) in Role::SLOTS {
            if place < cards {
                return role;
            }
            place -= cards;
        }
        Role::Staff
    }

    /// The item of a churn card in a state; none when that is to have none.
    pub fn churn_item(&self, number: u16, state: CardState, version: i64) -> Option<Item> {
        let status = match state {
            CardState::Issued => "issued",
            CardState::Revoked => "revoked",
            CardState::Lost => "lost",
            CardState::Unissued => "unissued",
            CardState::Deleted => return None,
        };
        Some(self.card_item(&self.churn_card(number), Role::Staff, status, version))
    }

    /// Every item but the churn cards', in the order in which they are written: rules before cards.
    pub fn items(&self) -> impl Iterator<Item = Item> + '_ {
        places::items()
            .into_iter()
            .chain(rights::items(self.seeded_at_ms))
            .chain((CHURN_CARDS..self.cards).map(|index| {
                let role = Self::role(index);
                self.card_item(&self.card(index), role, role.status(), self.seeded_at_ms)
            }))
    }

    /// First and first-no-longer valid second of the cards of role [`Role::Edge`].
    pub fn edges_s(&self) -> (i64, i64) {
        let now = self.seeded_at_ms / 1000;
        (now - 7200, now - 600)
    }

    fn card_item(&self, card: &Card, role: Role, status: &str, version: i64) -> Item {
        let now = self.seeded_at_ms / 1000;
        let (from, to) = match role {
            Role::Edge => self.edges_s(),
            Role::NotYet => (now + 30 * DAY_S, now + 400 * DAY_S),
            Role::Past => (now - 400 * DAY_S, now - DAY_S),
            _ => (now - 400 * DAY_S, now + 400 * DAY_S),
        };
        let holder = match role {
            Role::HolderGone => "inactive",
            Role::HolderNew => "onboarding",
            _ => "active",
        };
        let mut fields = vec![
            ("CardStatus", status.into()),
            ("IsAvailableForIssue", Value::Bool(role == Role::Available)),
            ("CardIssuedTo", format!("P{}", &card.id[4..]).into()),
            ("HolderStatus", holder.into()),
            ("ValidFrom", Value::N(from)),
            ("ValidTo", Value::N(to)),
            ("AccessProfiles", Value::L(self.assignments(card, role))),
            ("Version", Value::N(version)),
        ];
        if role == Role::Responder {
            fields.push(("Exemptions", Value::Ss(vec!["lockdown".to_owned()])));
        }
        Item {
            pk: format!("CARD#{}", card.id),
            sk: "CARD#STATUS".to_owned(),
            fields,
        }
    }

    fn assignments(&self, card: &Card, role: Role) -> Vec<Value> {
        let now = self.seeded_at_ms / 1000;
        let profile = Value::S(role.profile().id(SITES[card.home].name));
        match role {
            Role::Bare => vec![],
            Role::Assigned | Role::Lapsed => {
                let until = if role == Role::Lapsed {
                    now - 3600
                } else {
                    now + DAY_S
                };
                vec![Value::M(vec![
                    ("Id", profile),
                    ("ValidFrom", Value::N(now - 30 * DAY_S)),
                    ("ValidTo", Value::N(until)),
                ])]
            }
            _ => vec![profile],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    const WORLD: Population = Population {
        cards: 1000,
        seed: 7,
        seeded_at_ms: 1_772_438_321_123,
    };

    #[test]
    fn the_slots_of_a_block_add_up_and_the_smallest_world_holds_every_role() {
        assert_eq!(
            Role::SLOTS.iter().map(|(_, cards)| cards).sum::<usize>(),
            BLOCK
        );
        let roles: HashSet<Role> = (CHURN_CARDS..CARDS_MIN).map(Population::role).collect();
        assert_eq!(roles.len(), Role::SLOTS.len());
    }

    #[test]
    fn a_card_drawn_for_a_role_is_written_with_that_role() {
        let mut draw = fastrand::Rng::with_seed(1);
        for (role, _) in Role::SLOTS {
            for _ in 0..50 {
                let card = WORLD.card_of(role, &mut draw);
                let index: usize = card.id[1..].parse().expect("digits");
                assert_eq!(Population::role(index), role);
                assert_eq!(WORLD.card(index), card);
            }
        }
    }

    #[test]
    fn no_two_items_share_a_key() {
        let items: Vec<Item> = WORLD.items().collect();
        let keys: HashSet<(&str, &str)> = items.iter().map(|item| (&*item.pk, &*item.sk)).collect();
        assert_eq!(keys.len(), items.len());
        let cards = items.iter().filter(|item| item.sk == "CARD#STATUS").count();
        assert_eq!(cards, WORLD.cards - CHURN_CARDS);
    }
}

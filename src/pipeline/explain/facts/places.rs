//! What rules 21 and 24 look at: where the card is, and the areas of the door.

use super::{Facts, exempt, instant};
use crate::{
    access::change::RuleItem,
    model::{card::Exemptions, presence::Place},
    pipeline::explain::{find_presence, groups},
};

impl Facts<'_> {
    pub(super) fn passback(&self) -> Vec<String> {
        let mut told = Vec::new();
        for group in groups(self.view, self.question.door) {
            let place = match find_presence(self.items, self.question.card, &group) {
                None => "where the card is, is not known".to_owned(),
                Some((presence, door)) => {
                    let place = match &presence.place {
                        Place::Inside(area) => format!("inside {area}"),
                        Place::Outside => "outside".to_owned(),
                    };
                    format!("{place} since {} (by {door})", instant(presence.at_ms))
                }
            };
            told.push(format!("group {group}: {place}"));
        }
        told.extend(self.of_point(|point| {
            let areas = [("AreaFrom", &point.area_from), ("AreaTo", &point.area_to)];
            let areas = areas
                .iter()
                .filter_map(|(role, area)| Some((role, area.as_deref()?)));
            areas.map(|(role, id)| self.tell_area(role, id)).collect()
        }));
        if told.is_empty() {
            told.push("the door leads from and to no area".to_owned());
            return told;
        }
        told.extend(self.of_card(|card| {
            let forgiven = self.seconds_of_card("ForgivenAt");
            vec![format!(
                "ForgivenAt {forgiven}; {}",
                exempt(card, Exemptions::PASSBACK, "passback")
            )]
        }));
        told
    }

    fn tell_area(&self, role: &str, id: &str) -> String {
        let key = format!("AREA#{id}");
        let said = |name: &str, absent: &str| self.said((&key, "CONFIG"), name, absent);
        match self.looked(&format!("AREA#{id}")) {
            Err(why) => format!("{role}: {why}"),
            Ok(_) => format!(
                "{role} {id}: PassbackMode {}, PassbackTimeoutMin {}, AreaGroup {}, Parent {}",
                said("PassbackMode", "off"),
                said("PassbackTimeoutMin", "0 (none)"),
                said("AreaGroup", "-"),
                said("Parent", "-")
            ),
        }
    }

    pub(super) fn occupancy(&self) -> Vec<String> {
        self.of_point(|point| {
            let Some(id) = point.area_to.as_deref() else {
                return vec!["the door leads to no area".to_owned()];
            };
            let limit = match self.looked(&format!("AREA#{id}")) {
                Ok(RuleItem::Area(area)) => area.occupancy_upper,
                _ => 0,
            };
            if limit == 0 {
                return vec![format!("area {id} has no limit")];
            }
            let inside = self
                .question
                .inside
                .map_or_else(|| "not known".to_owned(), |count| count.to_string());
            let mut told = vec![format!(
                "area {id}: OccupancyUpper {limit}, inside {inside}"
            )];
            told.extend(
                self.of_card(|card| vec![exempt(card, Exemptions::OCCUPANCY, "occupancy")]),
            );
            told
        })
    }
}

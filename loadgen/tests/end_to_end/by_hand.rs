//! Cards, decisions and explanations by hand: what an operator types, beside a daemon that decides meanwhile.

use std::fs;

use loadgen::{
    clock::now_ms,
    item::{Item, Value},
};
use serde_json::Value as Json;

use crate::fixture::{DOOR, Decisions, Settings, Told, World, until};

const IN: &str = "vault-in";

/// From the end of a command to the first answer that knows of it.
const KNOWN_WITHIN_MS: i64 = 2000;

const ESTATE: &str = r#"[
    {"PK": "AREA#vault", "SK": "CONFIG", "PassbackMode": "hard"},
    {"PK": "AP#vault-in", "SK": "CONFIG", "SiteId": "site-1", "Direction": "in", "AreaTo": "vault"},
    {"PK": "PROFILE#vault", "SK": "CONFIG", "Policies": [{"AccessPoints": ["vault-in"]}]}
]"#;

impl World {
    async fn typed(&self, line: &str) -> Told {
        let words: Vec<_> = line.split(' ').collect();
        self.swiped("worker", &words).await
    }

    async fn json(&self, line: &str) -> Json {
        let told = self.typed(line).await;
        assert_eq!(told.code, Some(0), "{told:?}");
        serde_json::from_str(&told.out).expect("one JSON document")
    }

    fn file(&self, name: &str, text: &str) -> String {
        let path = self.directory().join(name);
        fs::write(&path, text).expect("the file is written");
        path.to_str().expect("a path of text").to_owned()
    }

    /// The answer to a swipe is what `swiped explain` said just before.
    async fn as_explained(&self, decisions: &mut Decisions, card: &str, door: &str) -> String {
        let line = format!("explain --card {card} --at {door} --json");
        let explained = self.json(&line).await;
        let reasons = self.reasons(decisions, &[(card, door)]).await;
        assert_eq!(explained["reason"], reasons[0].as_str(), "{explained:#}");
        let settled = explained["rules"].as_array().expect("rules").iter();
        let settled: Vec<_> = settled
            .filter(|step| step["standing"] == "settled")
            .collect();
        assert_eq!(settled.len(), 1, "{explained:#}");
        assert_eq!(settled[0]["rule"], explained["rule"]);
        reasons[0].clone()
    }

    /// Swipes until this is the answer, and the time that it took.
    async fn until_answered(
        &self,
        decisions: &mut Decisions,
        card: &str,
        door: &str,
        reason: &str,
    ) -> i64 {
        let began = now_ms();
        until(reason, async || {
            self.reasons(decisions, &[(card, door)]).await == [reason]
        })
        .await;
        now_ms() - began
    }
}

#[tokio::test]
async fn cards_are_imported_explained_forgiven_revoked_and_their_decisions_are_listed() {
    let world = World::new(1, 0).await;
    let _worker = world.start_ready("worker", &Settings::default()).await;
    let mut decisions = world.decisions().await;

    // Nothing is written by a dry run, nor while a row is refused.
    let mut rows = String::from("Id,CardStatus,HolderStatus,AccessProfiles\n");
    rows.extend((1000..1250).map(|card| format!("{card},issued,active,staff;vault\n")));
    let broken = world.file("broken.csv", &format!("{rows}1250,issud,active,staff\n"));
    let told = world
        .typed(&format!("access import {broken} --kind cards"))
        .await;
    assert_eq!(told.code, Some(1), "{told:?}");
    assert!(
        told.err
            .contains("broken.csv:252: CARD#1250: CardStatus is not a known word"),
        "{told:?}"
    );
    assert!(
        told.out
            .contains("250 new, 0 changed, 0 the same, 1 refused; nothing is written"),
        "{told:?}"
    );
    let cards = world.file("cards.csv", &rows);
    let told = world
        .typed(&format!("access import {cards} --kind cards --dry-run"))
        .await
        .done("250 new");
    assert!(
        told.out
            .contains("new      CARD#1249: AccessProfiles staff;vault"),
        "{told:?}"
    );
    let import = format!("access import {cards} --kind cards");
    world
        .typed(&import)
        .await
        .done("250 new, 0 changed, 0 the same, 0 refused; 250 written");
    world
        .typed(&import)
        .await
        .done("0 new, 0 changed, 250 the same, 0 refused; 0 written");
    let estate = world.file("estate.json", ESTATE);
    world
        .typed(&format!("access import {estate}"))
        .await
        .done("3 written");
    world
        .typed("access validate")
        .await
        .done("250 cards, 3 doors, 1 areas");

    // The daemon and the explanation agree, whatever it is.
    world
        .until_answered(&mut decisions, "1001", DOOR, "Granted")
        .await;
    world
        .until_answered(&mut decisions, "1001", IN, "Granted")
        .await;
    assert_eq!(
        world.as_explained(&mut decisions, "1001", DOOR).await,
        "Granted"
    );
    assert_eq!(
        world.as_explained(&mut decisions, "1001", IN).await,
        "AntiPassbackViolation"
    );
    assert_eq!(
        world.as_explained(&mut decisions, "1002", IN).await,
        "Granted"
    );
    assert_eq!(
        world.as_explained(&mut decisions, "9999", DOOR).await,
        "CredentialNotFound"
    );
    assert_eq!(
        world.as_explained(&mut decisions, "1001", "nowhere").await,
        "AccessPointUnknown"
    );
    let inside = world.json("decisions inside vault --json").await;
    let inside: Vec<_> = inside
        .as_array()
        .expect("an array")
        .iter()
        .map(|one| one["card_id"].as_str())
        .collect();
    assert_eq!(inside, [Some("1001"), Some("1002")]);
    world
        .typed("access forgive 1001")
        .await
        .done("changed  CARD#1001: ForgivenAt - → 1");
    let took = world
        .until_answered(&mut decisions, "1001", IN, "Granted")
        .await;
    assert!(took < KNOWN_WITHIN_MS, "forgiven only after {took} ms");

    // Revoked, and everybody says so.
    world
        .typed("access revoke 1001 --reason lost")
        .await
        .done("changed  CARD#1001: CardStatus issued → lost, Version 2 → 3");
    let took = world
        .until_answered(&mut decisions, "1001", DOOR, "CredentialLost")
        .await;
    assert!(took < KNOWN_WITHIN_MS, "revoked only after {took} ms");
    assert_eq!(
        world.as_explained(&mut decisions, "1001", DOOR).await,
        "CredentialLost"
    );
    world
        .typed("access reissue 1001 --to jo")
        .await
        .done("CardIssuedTo - → jo, CardStatus lost → issued");
    world
        .until_answered(&mut decisions, "1001", DOOR, "Granted")
        .await;
    let told = world.typed("access suspend 4711").await;
    assert_eq!(
        (told.code, &*told.out),
        (
            Some(1),
            "REFUSED  CARD#4711: there is no such item
"
        )
    );

    // What was decided, by card, by door, by reason.
    let reasons = |listed: &Json| {
        let listed = listed.as_array().expect("an array").iter();
        listed
            .map(|event| event["reason"].as_str().expect("a reason").to_owned())
            .collect::<Vec<_>>()
    };
    let of_card = reasons(&world.json("decisions --card 1001 --last 2 --json").await);
    assert_eq!(of_card, ["Granted", "CredentialLost"]);
    let at_door = reasons(
        &world
            .json(&format!("decisions --at {IN} --last 100 --json"))
            .await,
    );
    assert_eq!(
        at_door.iter().filter(|reason| *reason == "Granted").count(),
        3,
        "{at_door:?}"
    );
    let both = format!("decisions --card 1001 --at {IN} --last 1 --json");
    assert_eq!(reasons(&world.json(&both).await), ["Granted"]);
    let told = world
        .typed("decisions --reason AccessPointUnknown --csv")
        .await;
    assert!(told.err.contains("the table is scanned"), "{told:?}");
    assert_eq!(told.out.lines().count(), 2, "{told:?}");
    world
        .typed("decisions --card 1001 --since 2999-01-01")
        .await
        .done("SWIPED AT");

    // What the daemon would ignore is found.
    world
        .write(Item {
            pk: "CARD#13".to_owned(),
            sk: "CARD#STATUS".to_owned(),
            fields: vec![
                ("CardStatus", "issud".into()),
                ("AccessProfiles", Value::texts(["gone"])),
            ],
        })
        .await;
    world
        .typed("access put 14 CardStatus=issued AccessProfiles=gone")
        .await
        .done("new      CARD#14");
    let told = world.typed("access validate").await;
    assert_eq!(told.code, Some(1), "{told:?}");
    for finding in [
        "CARD#13 / CARD#STATUS: is ignored: CardStatus is not a known word",
        "PROFILE#gone: has no item; named by CARD#14 in AccessProfiles",
        "2 findings",
    ] {
        assert!(told.out.contains(finding), "{finding:?} is not in {told:?}");
    }
}

//! Cards that change while their swipes flow.

use loadgen::clock::now_ms;

use crate::fixture::{Settings, World};

/// From the write of a card to the first answer that knows of it.
const KNOWN_WITHIN_MS: i64 = 2000;

#[tokio::test]
async fn a_card_that_is_revoked_deleted_and_issued_again_is_answered_anew_within_two_seconds() {
    let world = World::new(1, 1).await;
    let _worker = world
        .start_ready(
            "worker",
            &Settings {
                poll_ms: 250,
                ..Settings::default()
            },
        )
        .await;
    let card = world.cards().remove(0);
    let traffic = world.traffic(&world.cards(), 1);
    let mut decisions = world.decisions().await;
    decisions
        .wait("the first grant", |events| !events.is_empty())
        .await;
    let mut changes = vec![(0, 0, "Granted")];
    for reason in [
        "CredentialRevoked",
        "CredentialNotFound",
        "Granted",
        "CredentialRevoked",
        "Granted",
    ] {
        match reason {
            "CredentialRevoked" => world.set_card(&card, "revoked").await,
            "CredentialNotFound" => world.delete_card(&card).await,
            _ => world.set_card(&card, "issued").await,
        }
        let (written, known) = (now_ms(), decisions.events.len());
        let mut first = None;
        decisions
            .wait(reason, |events| {
                let new = events[known..].iter().find(|event| event.reason == reason);
                first = new.map(|event| (event.device_seq, event.decided_at_ms - written));
                first.is_some()
            })
            .await;
        let (seq, took) = first.expect("it was waited for");
        println!("{reason}: {took} ms after the write");
        assert!(
            took < KNOWN_WITHIN_MS,
            "{reason} only {took} ms after the write"
        );
        changes.push((seq, took, reason));
    }
    let sent = traffic.stop().await;

    // From each change on every answer is the new one, until the next.
    for event in world.audit(&sent).await.events {
        let change = changes
            .iter()
            .rev()
            .find(|(seq, ..)| *seq <= event.device_seq);
        assert_eq!(
            change.map(|(.., reason)| *reason),
            Some(event.reason.as_str()),
            "{event:?}"
        );
    }
}

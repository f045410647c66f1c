use super::{fixtures::decision, *};
use crate::aws::exchange::canned;

const DAY_MS: i64 = 86_400_000;

/// The decision of the fixtures, of another card.
fn of_card(card: &'static str) -> Decision<'static> {
    let mut decision = decision();
    decision.swipe.card_id = card.into();
    decision
}

/// A left item as the service tells it.
fn left(card: &str) -> String {
    let sort = decision().sort_key();
    format!(r#"{{"PutRequest":{{"Item":{{"PK":{{"S":"CARD#{card}"}},"SK":{{"S":"{sort}"}}}}}}}}"#)
}

type Put = Result<Vec<(usize, FaultKind)>, (FaultKind, String)>;

/// What becomes of a put of the cards 1, 2 and 3.
async fn put(status: u16, reply: &str) -> Put {
    let (client, _) = canned::dynamodb(status, &[reply]);
    let decisions = ["1", "2", "3"].map(of_card);
    let sink = TableSink::new(client, "t", 1, false);
    let result = sink.put(&decisions.each_ref()).await;
    let failed = |failed: Failed| (failed.index, failed.kind);
    result
        .map(|all| all.into_iter().map(failed).collect())
        .map_err(|fault| (fault.kind, fault.message))
}

#[tokio::test]
async fn what_is_put_is_the_items_with_the_length_of_their_body() {
    let (client, asked) = canned::dynamodb(200, &[r#"{"UnprocessedItems":{}}"#]);
    let decisions = ["1", "2"].map(of_card);
    let sink = TableSink::new(client, "t", 90, true);
    let failed = sink.put(&decisions.each_ref()).await;
    assert_eq!(failed.expect("a reply"), []);
    let body = puts::body("t", &decisions.each_ref(), 90 * DAY_MS, true);
    assert_eq!(
        *asked.lock().expect("one test"),
        [(body.len().to_string(), body)]
    );
}

#[tokio::test]
async fn only_what_a_put_left_failed_and_one_card_alone_is_a_hot_key() {
    use FaultKind::{HotKey, Throttled};
    let of = |items: &[&str]| format!(r#"{{"UnprocessedItems":{{"t":[{}]}}}}"#, items.join(","));
    let [one, three] = ["1", "3"].map(left);
    assert_eq!(put(200, &of(&[])).await, Ok(vec![]));
    assert_eq!(put(200, &of(&[&three])).await, Ok(vec![(2, HotKey)]));
    let both = Ok(vec![(0, Throttled), (2, Throttled)]);
    assert_eq!(put(200, &of(&[&three, &one])).await, both);
}

#[tokio::test]
async fn a_reply_that_does_not_say_what_is_left_stores_nothing_for_certain() {
    let (nine, strange) = (left("9"), r#"{"PutRequest":{"Item":{}}}"#);
    for reply in [
        format!(r#"{{"UnprocessedItems":{{"t":[{nine}]}}}}"#),
        format!(
            r#"{{"UnprocessedItems":{{"t":[{},{strange}]}}}}"#,
            left("1")
        ),
        "<html>".to_owned(),
        String::new(),
    ] {
        let fault = put(200, &reply).await.expect_err("a fault");
        assert_eq!(fault.0, FaultKind::Transient, "{reply}: {}", fault.1);
    }
}

#[tokio::test]
async fn a_refused_put_is_the_fault_that_the_service_names() {
    let error = |word: &str, reasons: &str| {
        format!(
            r#"{{"__type":"com.amazonaws.dynamodb.v20120810#{word}","message":"so it is"{reasons}}}"#
        )
    };
    let of_a_key = r#","ThrottlingReasons":[{"reason":"TableWriteKeyRangeThroughputExceeded","resource":"t"}]"#;
    let throttled = "ProvisionedThroughputExceededException";
    for (status, body, kind) in [
        (400, error(throttled, ""), FaultKind::Throttled),
        (400, error(throttled, of_a_key), FaultKind::HotKey),
        (
            400,
            error("ResourceNotFoundException", ""),
            FaultKind::NotFound,
        ),
        (400, error("ValidationException", ""), FaultKind::Refused),
        (500, error("InternalServerError", ""), FaultKind::Transient),
        (503, "<html>".to_owned(), FaultKind::Transient),
    ] {
        let fault = put(status, &body).await.expect_err("a fault");
        assert_eq!(fault.0, kind, "{status} {body}: {}", fault.1);
    }
}

#[tokio::test]
async fn a_look_asks_each_key_once_and_again_for_what_was_left() {
    let sort = decision().sort_key();
    let key = |card: &str| format!(r#""PK":{{"S":"CARD#{card}"}},"SK":{{"S":"{sort}"}}"#);
    let found = |card: &str, at: u32| {
        let key = key(card);
        format!(r#"{{{key},"reason":{{"S":"Granted"}},"decided_at_ms":{{"N":"{at}"}}}}"#)
    };
    let first = format!(
        r#"{{"Responses":{{"t":[{}]}},"UnprocessedKeys":{{"t":{{"Keys":[{{{}}}]}}}}}}"#,
        found("2", 22),
        key("1"),
    );
    let second = format!(
        r#"{{"Responses":{{"t":[{}]}},"UnprocessedKeys":{{}}}}"#,
        found("1", 11)
    );
    let (client, asked) = canned::dynamodb(200, &[&first, &second]);
    let sink = TableSink::new(client, "t", 1, false);
    let decisions = ["1", "2", "3", "1"].map(of_card);
    let answers = sink.stored(&decisions).await.expect("answers");
    let at = |answer: &Option<Answer>| answer.map(|answer| answer.decided_at_ms);
    let at: Vec<_> = answers.iter().map(at).collect();
    assert_eq!(at, [Some(11), Some(22), None, Some(11)]);
    let keys =
        |(_, body): &(String, Vec<u8>)| String::from_utf8_lossy(body).matches("CARD#EVENT").count();
    let asked: Vec<_> = asked.lock().expect("one test").iter().map(keys).collect();
    assert_eq!(asked, [3, 1]);
}

#[tokio::test]
async fn a_look_that_reads_nothing_is_throttled() {
    let sort = decision().sort_key();
    let left = format!(
        r#"{{"UnprocessedKeys":{{"t":{{"Keys":[{{"PK":{{"S":"CARD#1"}},"SK":{{"S":"{sort}"}}}}]}}}}}}"#
    );
    let (client, _) = canned::dynamodb(200, &[&left]);
    let sink = TableSink::new(client, "t", 1, false);
    let fault = sink.stored(&[of_card("1")]).await.expect_err("a fault");
    assert_eq!(fault.kind, FaultKind::Throttled);
}

//! What contracts answer is what a quorum says they answer.

use alloy::providers::mock::Asserter;

use super::*;

/// What an endpoint says.
#[derive(Clone)]
enum Said {
    Answers(Vec<Bytes>),
    NoState,
}

fn calls(count: u8) -> Vec<Call> {
    let at = BlockRef { number: 7, ..BlockRef::default() };
    let call = |n| Call { at, contract: Address::ZERO, input: Bytes::copy_from_slice(&[n]) };
    (0..count).map(call).collect()
}

fn answers(count: u8) -> Vec<Bytes> {
    (0..count).map(|n| Bytes::copy_from_slice(&[n; 32])).collect()
}

fn altered(count: u8) -> Said {
    let mut answers = answers(count);
    answers[usize::from(count) - 1] = Bytes::from_static(&[0xff; 32]);
    Said::Answers(answers)
}

/// What a quorum of `quorum` makes of what each endpoint says, once.
async fn asked(quorum: usize, said: &[Said], count: u8) -> Result<Vec<Bytes>, SourceError> {
    let endpoint = |said: &Said| {
        let asserter = Asserter::new();
        match said {
            Said::Answers(answers) => answers.iter().for_each(|bytes| asserter.push_success(bytes)),
            // To the batch, and to its first call alone.
            Said::NoState => {
                (0..=count).for_each(|_| asserter.push_failure_msg("missing trie node"));
            }
        }
        Node::told(asserter)
    };
    let nodes = said.iter().map(endpoint).collect();
    let nodes = Nodes { nodes, quorum, preferred: Arc::default() };
    nodes.answers(&calls(count)).await
}

fn honest(count: u8) -> Said {
    Said::Answers(answers(count))
}

#[tokio::test]
async fn a_quorum_that_agrees_is_believed() {
    assert_eq!(asked(1, &[honest(3)], 3).await.unwrap(), answers(3));
    assert_eq!(asked(2, &[honest(3), honest(3)], 3).await.unwrap(), answers(3));
    for lied in [altered(3), Said::NoState] {
        assert_eq!(asked(2, &[honest(3), lied.clone(), honest(3)], 3).await.unwrap(), answers(3));
        assert_eq!(asked(2, &[lied, honest(3), honest(3)], 3).await.unwrap(), answers(3));
    }
}

#[tokio::test]
async fn one_byte_that_differs_is_a_disagreement() {
    for said in [[honest(3), altered(3)], [altered(3), honest(3)]] {
        let refused = asked(2, &said, 3).await.unwrap_err();
        assert!(matches!(refused, SourceError::FactsDiffer(7)), "{refused}");
        assert_eq!(refused.name(), "facts_differ");
    }
}

#[tokio::test]
async fn whoever_has_no_state_agrees_with_nobody() {
    for said in [vec![Said::NoState], vec![honest(3), Said::NoState]] {
        let refused = asked(said.len(), &said, 3).await.unwrap_err();
        assert!(matches!(refused, SourceError::NoState(7)), "{refused}");
        assert_eq!(refused.name(), "no_state");
    }
    let refused = asked(1, &[Said::NoState], 1).await.unwrap_err();
    assert!(matches!(refused, SourceError::NoState(7)), "{refused}");
}

#[tokio::test]
async fn many_answers_come_in_the_order_of_their_questions() {
    for count in [0, 1, 64, 65, 200] {
        let said = [honest(count), honest(count)];
        assert_eq!(asked(2, &said, count).await.unwrap(), answers(count), "{count}");
    }
}

#[tokio::test]
async fn a_node_that_refuses_batches_is_asked_one_by_one() {
    let asserter = Asserter::new();
    // The batch fails as a whole; its two answers are thrown away.
    asserter.push_failure_msg("no batches here");
    asserter.push_success(&Bytes::from_static(b"thrown away"));
    answers(2).iter().for_each(|answer| asserter.push_success(answer));
    assert_eq!(Node::told(asserter).answers(&calls(2)).await.unwrap(), answers(2));
}

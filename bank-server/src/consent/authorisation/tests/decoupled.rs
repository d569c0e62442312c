//! Rounds of the poller.

use super::*;
use crate::store::challenges::Ended;

#[tokio::test]
async fn no_tpp_delays_the_challenges_of_others() {
    let scene = Scene::set().await;
    let challenges = &scene.authorisations.challenges;
    let decoupled = ScaApproach::Decoupled;
    let mut flood = Vec::new();
    for _ in 0..4 {
        let consent = scene.consent(balances(&[HERS])).await;
        for _ in 0..20 {
            let invented = psu(&SystemRandomness.uuid().to_string());
            flood.push(scene.started(&consent, decoupled, Some(&invented)).await);
        }
    }
    let consent = scene.consent_of(&scene.other, balances(&[HERS])).await;
    let anna = psu("anna");
    let start = Start {
        tpp: scene.other.organisation(),
        consent_id: &consent,
        request_id: SystemRandomness.uuid(),
        digest: "x",
        psu: Some(&anna),
        approach: decoupled,
        redirect_uri: None,
        nok_redirect_uri: None,
    };
    let hers = scene.authorisations.start(start).await.unwrap().id;
    let since = scene.clock.now() - TimeDelta::minutes(15);
    let round = async || -> Vec<String> {
        let waiting = challenges.to_start(since).await.unwrap().into_iter();
        waiting.map(|authorisation| authorisation.id).collect()
    };
    let first = round().await;
    assert!(first.contains(&hers));
    assert_eq!(first.len(), 51);
    // What had nothing to start makes room.
    for id in &first {
        challenges.end(id, Ended::None).await.unwrap();
    }
    let second = round().await;
    assert_eq!(second.len(), 30);
    assert!(
        second
            .iter()
            .all(|id| flood.contains(id) && !first.contains(id))
    );
}

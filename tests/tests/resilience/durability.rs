//! Crash recovery of `bank-server`: what it acknowledged before SIGKILL is there after the restart.

use serde_json::json;
use tests::consent_requests::PSU;
use tests::process::{Process, consent_body, prepare};

#[tokio::test(flavor = "multi_thread")]
async fn whatever_was_acknowledged_survives_kill_9() {
    let (folder, pki) = prepare().await;
    let mut acknowledged = Vec::new();
    for round in 0..4 {
        let mut server = Process::serve(folder.path(), &pki).await;
        for id in &acknowledged {
            let answer = server
                .tpp
                .get(&format!("/v1/consents/{id}/status"), &[])
                .await;
            assert_eq!(
                answer.json(),
                json!({ "consentStatus": "received" }),
                "round {round}: {id}"
            );
        }
        let before = acknowledged.len();
        let (sender, mut created) = tokio::sync::mpsc::unbounded_channel();
        for _ in 0..4 {
            let (tpp, sender) = (server.tpp.clone(), sender.clone());
            // Ends with the server: a request that is cut off panics in its own task.
            tokio::spawn(async move {
                loop {
                    let body = consent_body("2099-12-31");
                    let answer = tpp.post("/v1/consents", &[PSU], &body).await;
                    // A write that waited too long for another one is not acknowledged.
                    if answer.status == 503 {
                        continue;
                    }
                    if answer.status != 201
                        || sender
                            .send(answer.json()["consentId"].as_str().unwrap().to_owned())
                            .is_err()
                    {
                        return;
                    }
                }
            });
        }
        drop(sender);
        while acknowledged.len() < before + 25 {
            acknowledged.push(created.recv().await.expect("the server answers"));
        }
        // In the middle of writes.
        server.child.kill();
        while let Some(id) = created.recv().await {
            acknowledged.push(id);
        }
    }
    assert!(acknowledged.len() >= 100);
}

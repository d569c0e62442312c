//! A reference core on the world of Bank B, and replicas of Bank B that read from it.

use std::path::{Path, PathBuf};

use bank_client::environment::{Clock as _, SystemClock};
use bank_server::RunningBank;
use bank_server::config::CoreBankingConfig;
use fixtures::core_process::{CoreProcess, ReferenceCore};
use fixtures::pki::InternalPki;
use serde_json::json;

use crate::banks::Banks;

/// A core that runs, and the folder of its certificates.
pub struct CoreOfB {
    pub process: CoreProcess,
    pub pki: PathBuf,
}

impl CoreOfB {
    pub fn start(core: ReferenceCore, banks: &Banks) -> Self {
        let folder = banks.folder.path();
        Self::on(core, &folder.join("world/bank-b.jsonl"), folder)
    }

    /// On that world file, with certificates in a folder of its own below `folder`.
    pub fn on(core: ReferenceCore, world: &Path, folder: &Path) -> Self {
        let pki = folder.join(format!("core-in-{core}"));
        let issued = InternalPki::make("Bank B", SystemClock.now()).unwrap();
        issued.write(&pki).unwrap();
        Self {
            process: CoreProcess::start(core, world, &pki).unwrap(),
            pki,
        }
    }

    /// The section `[core_banking]` of its bank.
    pub fn section(&self) -> CoreBankingConfig {
        let section = json!({
            "url": self.process.url(),
            "certificate": self.pki.join("client.pem"),
            "private_key": self.pki.join("client.key"),
            "anchors": [self.pki.join("root.pem")],
            "deltas": true,
            "text_search": true,
        });
        serde_json::from_value(section).unwrap()
    }

    /// A replica of Bank B, on the same database, that reads accounts from this core.
    pub async fn replica_of_b(&self, banks: &Banks) -> RunningBank {
        let section = self.section();
        banks
            .replica_of_b(|config| config.core_banking = Some(section))
            .await
    }
}

//! What the service finds when it starts: each case is recognised, told in words, and met by the right thing.

use std::{error::Error, path::Path};

use rocksdb::{DB, Options as DbOptions};
use sesame_indexer::MirrorError;
use sesame_sms::{Config, ServeError};
use sesame_tests::{Launch, Node, Program, Scene, Sms, Truth, World, codes_of};
use sesame_view::{SCHEMA_VERSION, View};

/// The database under an index, for whoever wants to spoil it.
pub(crate) fn raw(index: &Path) -> DB {
    let options = DbOptions::default();
    DB::open_cf(&options, index, DB::list_cf(&options, index).unwrap()).unwrap()
}

fn set_schema(index: &Path, schema: u32) {
    let db = raw(index);
    db.put_cf(db.cf_handle("meta").unwrap(), "schema", schema.to_be_bytes()).unwrap();
}

/// The refusal with its causes.
fn told(refusal: &ServeError) -> String {
    let mut text = refusal.to_string();
    let mut cause = refusal.source();
    while let Some(error) = cause {
        text += &format!(": {error}");
        cause = error.source();
    }
    text
}

async fn is_the_chain(world: &World, index: &Path) {
    let truth = Truth::at(&world.folder().join("truth"), &world.deployment);
    truth.follow(&world.node).await;
    truth.agrees(&View::open(index, &Truth::origin(&world.deployment)).unwrap());
}

#[tokio::test]
async fn after_a_long_time_away_it_catches_up_before_it_says_anything() {
    let mut world = World::start().await;
    let scene = Scene::set(&world).await;
    world.sms.stop().await;
    for round in 0..5 {
        world.buy(&scene.order).await;
        world.node.mine(200 * round).await;
    }
    world.requester.chain.revoke_grant(scene.task, 1).await.unwrap();
    world.alice.chain.revoke(scene.data, scene.build.id()).await.unwrap();
    world.node.mine(100).await;

    world.sms.start_again().await;
    while world.sms.get("readyz").await.status != 200 {}

    let denials = codes_of(&world.sms.explain(scene.task).await.denials);
    assert_eq!(denials, ["not_whitelisted", "grant_revoked"]);
    world.sms.stop().await;
    is_the_chain(&world, &world.sms.data("index")).await;
}

#[tokio::test]
async fn a_node_of_another_chain_is_refused() {
    let mut world = World::start().await;
    world.sms.stop().await;
    let other = Node::of_chain(7);
    let config = Config { rpc_urls: vec![other.url()], ..world.sms.config.clone() };

    let refusal = Sms::refusal(config).await;

    let expected = world.deployment.chain_id;
    assert!(
        matches!(refusal, ServeError::Mirror(MirrorError::WrongChain { expected: e, got: 7 }) if e == expected),
        "{refusal:?}"
    );
    assert!(told(&refusal).contains(&format!("chain 7, the deployment is on chain {expected}")));
    world.sms.start_again().await;
    world.sms.ready().await;
}

/// A development chain that began anew, with the same contracts at the same addresses.
#[tokio::test]
async fn a_wiped_chain_is_refused_until_the_index_is_deleted() {
    let mut world = World::start().await;
    Scene::set(&world).await;
    world.sms.stop().await;
    let wiped = Node::start();
    let again = wiped.deploy().await;
    assert_eq!(again, world.deployment, "the same manifest serves for both");
    let config = Config { rpc_urls: vec![wiped.url()], ..world.sms.config.clone() };

    for blocks in [0, 100] {
        wiped.mine(blocks).await;
        let refusal = Sms::refusal(config.clone()).await;
        let below = matches!(refusal, ServeError::Mirror(MirrorError::ReorgBelowConfirmed { .. }));
        assert!(below, "{refusal:?}");
        assert!(told(&refusal).contains("delete the index to rebuild it"), "{refusal:?}");
    }

    std::fs::remove_dir_all(world.sms.data("index")).unwrap();
    let sms = Sms::start(config).await;
    sms.ready().await;
}

#[tokio::test]
async fn an_older_schema_is_rebuilt_by_itself() {
    let mut world = World::start().await;
    let scene = Scene::set(&world).await;
    world.sms.stop().await;
    set_schema(&world.sms.data("index"), SCHEMA_VERSION - 1);
    let folder = &world.sms.config.data_dir;

    let program = Program::start(&Launch {
        rpc_url: world.node.url(),
        deployment: &world.deployment,
        folder,
        listen: "127.0.0.1:0",
        confirmations: world.confirmations(),
        root: Some(world.published()),
    });
    program.ready().await;
    let said = program.said();
    program.kill();

    let warning = said.lines().find(|line| line.contains("is rebuilt from the chain"));
    assert!(warning.is_some_and(|line| line.contains("WARN")), "{said}");
    assert!(!folder.join("index.discarded").exists());
    is_the_chain(&world, &folder.join("index")).await;
    world.sms.start_again().await;
    world.sms.ready().await;
    scene.run(&world).await;
}

#[tokio::test]
async fn a_newer_schema_is_refused_and_left_alone() {
    let mut world = World::start().await;
    world.sms.stop().await;
    let index = world.sms.data("index");
    set_schema(&index, SCHEMA_VERSION + 1);

    for _ in 0..2 {
        let refusal = Sms::refusal(world.sms.config.clone()).await;
        assert!(matches!(refusal, ServeError::Index(_)), "{refusal:?}");
        let told = told(&refusal);
        let index = index.display().to_string();
        for words in ["use the newer program", "delete that folder", index.as_str()] {
            assert!(told.contains(words), "{told}");
        }
    }

    // The newer program finds its index as it left it.
    set_schema(&index, SCHEMA_VERSION);
    is_the_chain(&world, &index).await;
}

#[tokio::test]
async fn a_damaged_index_is_refused_with_what_to_do() {
    let mut world = World::start().await;
    world.sms.stop().await;
    let index = world.sms.data("index");
    for file in std::fs::read_dir(&index).unwrap().map(Result::unwrap) {
        if file.file_name().to_string_lossy().starts_with("MANIFEST") {
            std::fs::write(file.path(), b"not a manifest").unwrap();
        }
    }

    let refusal = Sms::refusal(world.sms.config.clone()).await;
    assert!(told(&refusal).contains("delete that folder and start again"), "{}", told(&refusal));

    std::fs::remove_dir_all(&index).unwrap();
    world.sms.start_again().await;
    world.sms.ready().await;
}

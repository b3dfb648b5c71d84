//! In a schema of its own, beside the tables of another application.

use cloakroom_application::ports::StoreRegistry;
use cloakroom_infrastructure::metadata::{Database, DatabaseOptions, SchemaState};
use futures_util::future::join_all;

use super::support::{OwnDatabase, empty_postgres};

const OTHERS: &str = "CREATE TABLE files (file_id varchar PRIMARY KEY, size bigint NOT NULL); \
                      INSERT INTO files VALUES ('theirs', 1);";

async fn occupied() -> String {
    let url = empty_postgres().await;
    let own = OwnDatabase::at(&url, &DatabaseOptions::default());
    own.script(OTHERS.to_owned()).await;
    url
}

fn in_schema() -> DatabaseOptions {
    DatabaseOptions {
        schema: Some("apart".to_owned()),
        ..DatabaseOptions::default()
    }
}

#[tokio::test]
async fn another_applications_table_is_noticed_before_anything_is_made() {
    let url = occupied().await;
    let here = Database::connect(&url, &DatabaseOptions::default()).unwrap();
    assert_eq!(here.schema_state().await.unwrap(), SchemaState::Occupied);
    let apart = Database::connect(&url, &in_schema()).unwrap();
    let state = apart.schema_state().await.unwrap();
    assert!(matches!(state, SchemaState::Pending(_)), "{state:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn several_that_make_the_schema_at_once_all_use_it() {
    let url = occupied().await;
    let options = in_schema();
    let all: Vec<Database> = (0..4)
        .map(|_| Database::connect(&url, &options).unwrap())
        .collect();
    for migrated in join_all(all.iter().map(Database::migrate)).await {
        migrated.unwrap();
    }
    for database in &all {
        assert_eq!(database.schema_state().await.unwrap(), SchemaState::Current);
        assert!(database.all().await.unwrap().is_empty());
    }
    // Theirs is as it was.
    let own = OwnDatabase::at(&url, &options);
    let untouched = "DO $$ BEGIN ASSERT (SELECT count(*) = 1 FROM public.files WHERE file_id = 'theirs'); END $$";
    own.script(untouched.to_owned()).await;
}

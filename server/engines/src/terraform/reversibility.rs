//! Whether a change that Terraform plans can be undone by going back to the revision before.
//!
//! Terraform does not say, so this is a table of kinds that are known, and [`Reversibility::Unknown`] for every other one.

use freehold_domain::runs::Reversibility;

use crate::Action;

/// Kinds that keep data of their own: what removes them removes it.
const STORES: [&str; 34] = [
    "aws_backup_vault",
    "aws_cloudwatch_log_group",
    "aws_db_instance",
    "aws_docdb_cluster",
    "aws_dynamodb_table",
    "aws_ebs_volume",
    "aws_ecr_repository",
    "aws_efs_file_system",
    "aws_elasticache_cluster",
    "aws_elasticache_replication_group",
    "aws_fsx_lustre_file_system",
    "aws_kinesis_stream",
    "aws_kms_key",
    "aws_msk_cluster",
    "aws_neptune_cluster",
    "aws_opensearch_domain",
    "aws_rds_cluster",
    "aws_rds_cluster_instance",
    "aws_redshift_cluster",
    "aws_s3_bucket",
    "aws_s3_object",
    "aws_secretsmanager_secret",
    "aws_sqs_queue",
    "aws_ssm_parameter",
    "azurerm_key_vault",
    "azurerm_mssql_database",
    "azurerm_postgresql_flexible_server",
    "azurerm_storage_account",
    "google_bigquery_dataset",
    "google_compute_disk",
    "google_kms_crypto_key",
    "google_sql_database_instance",
    "google_storage_bucket",
    "kubernetes_persistent_volume_claim",
];

/// Kinds whose machines have disks that end with them.
const MACHINES: [&str; 6] = [
    "aws_instance",
    "aws_spot_instance_request",
    "azurerm_linux_virtual_machine",
    "azurerm_windows_virtual_machine",
    "google_compute_instance",
    "kubernetes_stateful_set",
];

/// Beginnings of kinds that are nothing but their configuration: made anew they are what they were.
const CONFIGURATION: [&str; 18] = [
    "terraform_data",
    "null_resource",
    "aws_cloudwatch_event_rule",
    "aws_cloudwatch_metric_alarm",
    "aws_default_",
    "aws_iam_",
    "aws_internet_gateway",
    "aws_lb_listener",
    "aws_lb_target_group",
    "aws_nat_gateway",
    "aws_network_acl",
    "aws_route",
    "aws_security_group",
    "aws_sns_topic",
    "aws_subnet",
    "aws_vpc",
    "google_compute_firewall",
    "google_project_iam_",
];

/// Whether a change of a resource of this kind can be undone.
pub(super) fn of(kind: &str, action: Action) -> Reversibility {
    let is_configuration = CONFIGURATION.iter().any(|beginning| kind.starts_with(beginning));
    match action {
        // What is made is removed again; what is left alone is as it was.
        Action::Create | Action::Noop => Reversibility::Reversible,
        Action::Update | Action::Replace | Action::Delete if is_configuration => Reversibility::Reversible,
        Action::Replace | Action::Delete if STORES.contains(&kind) => Reversibility::Irreversible,
        Action::Replace | Action::Delete if MACHINES.contains(&kind) => Reversibility::ReversibleWithDataLoss,
        Action::Update | Action::Replace | Action::Delete => Reversibility::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_is_said_and_nothing_else() {
        let table = [
            ("aws_s3_bucket", Action::Create, Reversibility::Reversible),
            ("aws_s3_bucket", Action::Update, Reversibility::Unknown),
            ("aws_s3_bucket", Action::Delete, Reversibility::Irreversible),
            ("aws_db_instance", Action::Replace, Reversibility::Irreversible),
            ("aws_instance", Action::Replace, Reversibility::ReversibleWithDataLoss),
            ("aws_security_group_rule", Action::Delete, Reversibility::Reversible),
            ("terraform_data", Action::Replace, Reversibility::Reversible),
            ("nobody_knows", Action::Delete, Reversibility::Unknown),
        ];
        for (kind, action, expected) in table {
            assert_eq!(of(kind, action), expected, "{action:?} of {kind}");
        }
    }
}

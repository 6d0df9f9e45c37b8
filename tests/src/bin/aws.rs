//! `cargo xtask aws`: the whole life of a network, a machine and a bucket of AWS, with Terraform's own provider of AWS against moto.
//!
//! Needs `FREEHOLD_BIN`, `FREEHOLD_MOTO` and `FREEHOLD_TERRAFORM_PLUGINS`; xtask finds or gets them. Whatever is not as it should
//! be ends it with a failure.

use std::{env, path::PathBuf, time::Duration};

use freehold::{ChangeAction, DriftState};
use freehold_tests::{
    Database, Site, World,
    moto::{Moto, elements},
    site::module,
};

const MODULE: &str = include_str!("aws.tf");
const BUCKET: &str = "/freehold-assets";

#[tokio::main]
async fn main() {
    let life = tokio::time::timeout(Duration::from_secs(30 * 60), life());
    life.await.expect("its life is over within half an hour");
    println!("planned, made, changed outside, found, put right, rolled back, removed: AWS said so each time");
}

fn path(variable: &str) -> PathBuf {
    let path = env::var_os(variable).unwrap_or_else(|| panic!("{variable} is not set: run `cargo xtask aws`"));
    PathBuf::from(path)
}

async fn life() {
    let world = World::new(Database::Sqlite).await.shop().await;
    let moto = Moto::start(&path("FREEHOLD_MOTO"), &world.installation.path("moto.log")).await;
    let text = MODULE.replace("MOTO", &format!("http://{}", moto.address));
    world.publish("network", module(&text, &["owner"])).await;
    let keys = world.installation.path("aws.env");
    std::fs::write(&keys, "AWS_ACCESS_KEY_ID=made-up-key\nAWS_SECRET_ACCESS_KEY=made-up-secret\n").expect("a file");
    let (keys, plugins) = (keys.display().to_string(), path("FREEHOLD_TERRAFORM_PLUGINS").display().to_string());
    let options = ["--provider-mirror", &plugins, "--read-env", &keys, "--write-env", &keys, "--egress", &moto.address];
    let _runner = world.installation.runner(&[world.replica.runner], "runner", &options);
    let site = Site::new(&world, "network", "network", &[("owner", "ada")]).await;

    let run = site.planned().await;
    assert_eq!(run.run().plan_summary.as_ref().map(|plan| plan.create), Some(5), "{:?}", run.run());
    assert_eq!(moto.tagged().await, "", "nothing is made before an approval");
    println!("planned: 5 to create, and AWS has none of them");
    site.approved(run).await;
    assert_eq!(moto.tagged().await, "instance security-group subnet vpc");
    assert_eq!((moto.owner().await.as_str(), moto.s3("HEAD", BUCKET).await.0), ("ada", 200));
    let vpc = site.outputs().await["vpc"].as_str().expect("an id").to_owned();
    assert!(moto.ec2(&format!("DescribeVpcs&VpcId.1={vpc}")).await.contains("10.7.0.0/16"));
    println!("approved and applied: AWS has {vpc}, subnet, security group, instance and bucket, owner ada");

    site.wants(&[("owner", "bob")]).await;
    let run = site.planned().await;
    assert_eq!(run.run().plan_summary.as_ref().map(|plan| (plan.create, plan.update, plan.delete)), Some((0, 5, 0)));
    site.approved(run).await;
    assert_eq!(moto.owner().await, "bob");
    assert_eq!(site.drift().await, (DriftState::Clean, Vec::new()));
    println!("changed: AWS says owner bob; no drift");

    let outputs = site.outputs().await;
    let id = |name: &str| outputs[name].as_str().expect("an id");
    moto.ec2(&format!("CreateTags&ResourceId.1={vpc}&Tag.1.Key=owner&Tag.1.Value=mallory")).await;
    moto.ec2(&format!(
        "AuthorizeSecurityGroupIngress&GroupId={}&IpPermissions.1.IpProtocol=tcp&IpPermissions.1.FromPort=22\
         &IpPermissions.1.ToPort=22&IpPermissions.1.IpRanges.1.CidrIp=0.0.0.0/0",
        id("group")
    ))
    .await;
    moto.ec2(&format!("TerminateInstances&InstanceId.1={}", id("instance"))).await;
    assert_eq!(moto.s3("DELETE", BUCKET).await.0, 204);
    let (state, items) = site.drift().await;
    assert_eq!(state, DriftState::Drifted);
    for (address, path) in [
        ("aws_vpc.net", Some("tags")),
        ("aws_security_group.web", Some("ingress")),
        ("aws_instance.web", None),
        ("aws_s3_bucket.assets", None),
    ] {
        let found = items.iter().any(|item| item.address == address && item.path.as_deref() == path);
        assert!(found, "no drift of {address} {path:?} in {items:?}");
        println!("drift: {address} {}", path.map_or("is gone".to_owned(), |path| format!("has other {path}")));
    }
    assert_eq!((moto.owner().await.as_str(), moto.s3("HEAD", BUCKET).await.0), ("mallory", 404), "a look changes nothing");

    let run = site.proposed().await;
    let plan = run.plan().await.expect("a plan");
    let created = plan.changes.iter().filter(|change| change.action == ChangeAction::Create).count();
    assert_eq!(created, 2, "{plan:?}");
    site.approved(run).await;
    assert_eq!((moto.owner().await.as_str(), moto.s3("HEAD", BUCKET).await.0), ("bob", 200));
    let group = moto.ec2(&format!("DescribeSecurityGroups&GroupId.1={}", id("group"))).await;
    let ports = elements(elements(&group, "ipPermissions")[0], "fromPort");
    assert_eq!((ports, moto.tagged().await.as_str()), (vec!["443"], "instance security-group subnet vpc"));
    assert_eq!(site.drift().await, (DriftState::Clean, Vec::new()));
    println!("put right: AWS says owner bob, port 443 alone, the instance runs, the bucket is there; no drift");

    site.rolled_back(1).await;
    assert_eq!((moto.owner().await.as_str(), moto.s3("HEAD", BUCKET).await.0), ("ada", 200));
    println!("rolled back: AWS says owner ada");
    site.destroyed().await;
    assert_eq!((moto.tagged().await.as_str(), moto.s3("HEAD", BUCKET).await.0), ("", 404));
    println!("destroyed: AWS has none of it");
}

/// What is asked of AWS.
trait Cloud {
    /// Kinds of what is there under our name, machines that are gone left out.
    async fn tagged(&self) -> String;
    /// Who owns the network by its tags.
    async fn owner(&self) -> String;
}

impl Cloud for Moto {
    async fn tagged(&self) -> String {
        let named = "Filter.1.Name=tag:Name&Filter.1.Value.1=freehold";
        let running = format!("{named}&Filter.2.Name=instance-state-name&Filter.2.Value.1=running");
        let mut found = Vec::new();
        for (kind, action, element) in [
            ("instance", format!("DescribeInstances&{running}"), "instanceId"),
            ("security-group", format!("DescribeSecurityGroups&{named}"), "groupName"),
            ("subnet", format!("DescribeSubnets&{named}"), "subnetId"),
            ("vpc", format!("DescribeVpcs&{named}"), "vpcId"),
        ] {
            found.extend((!elements(&self.ec2(&action).await, element).is_empty()).then_some(kind));
        }
        found.join(" ")
    }

    async fn owner(&self) -> String {
        let networks = self.ec2("DescribeVpcs&Filter.1.Name=tag:Name&Filter.1.Value.1=freehold").await;
        let tags = elements(&networks, "tagSet").concat();
        let owner = tags.split_once("<key>owner</key>").map(|(_, rest)| elements(rest, "value")[0]);
        owner.unwrap_or_default().to_owned()
    }
}

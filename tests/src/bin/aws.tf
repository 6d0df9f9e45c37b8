terraform {
  required_providers { aws = { source = "registry.terraform.io/hashicorp/aws" } }
}
variable "owner" { type = string }
provider "aws" {
  region                      = "us-east-1"
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  skip_requesting_account_id  = true
  s3_use_path_style           = true
  endpoints {
    ec2 = "MOTO"
    s3  = "MOTO"
    sts = "MOTO"
  }
}
locals { tags = { Name = "freehold", owner = var.owner } }
resource "aws_vpc" "net" {
  cidr_block = "10.7.0.0/16"
  tags       = local.tags
}
resource "aws_subnet" "front" {
  vpc_id     = aws_vpc.net.id
  cidr_block = "10.7.1.0/24"
  tags       = local.tags
}
resource "aws_security_group" "web" {
  name        = "web"
  description = "the web"
  vpc_id      = aws_vpc.net.id
  tags        = local.tags
  ingress {
    from_port   = 443
    to_port     = 443
    protocol    = "tcp"
    cidr_blocks = ["0.0.0.0/0"]
  }
}
resource "aws_s3_bucket" "assets" {
  bucket = "freehold-assets"
  tags   = local.tags
}
resource "aws_instance" "web" {
  ami                    = "ami-12c6146b"
  instance_type          = "t3.micro"
  subnet_id              = aws_subnet.front.id
  vpc_security_group_ids = [aws_security_group.web.id]
  tags                   = local.tags
}
output "vpc" { value = aws_vpc.net.id }
output "instance" { value = aws_instance.web.id }
output "group" { value = aws_security_group.web.id }

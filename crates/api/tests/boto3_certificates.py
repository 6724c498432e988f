"""Certificates from requests, of registered CAs and of none, and the CAs themselves, with boto3 and openssl."""

import pathlib
import subprocess
import tempfile

import boto3
from botocore.exceptions import ClientError

iot = boto3.client("iot")
ACCOUNT = "arn:aws:iot:eu-central-1:123456789012"
FOLDER = tempfile.TemporaryDirectory()
EC = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]


def openssl(*arguments):
    done = subprocess.run(["openssl", *arguments], cwd=FOLDER.name, capture_output=True, text=True)
    assert done.returncode == 0, done
    return done.stdout


def text(name):
    return (pathlib.Path(FOLDER.name) / name).read_text()


def request(name, subject, key=EC):
    openssl("req", "-new", *key, "-keyout", f"{name}.key", "-subj", subject, "-out", f"{name}.csr")
    return text(f"{name}.csr")


def ca(name, subject="/O=Makers/CN=Pump CA"):
    openssl("req", "-x509", *EC, "-keyout", f"{name}.key", "-subj", subject, "-days", "30", "-out", f"{name}.pem")
    return text(f"{name}.pem")


def signed(name, by, subject="/CN=pump-7"):
    """A certificate that this CA has signed."""
    request(name, subject)
    arguments = ["x509", "-req", "-in", f"{name}.csr", "-CA", f"{by}.pem", "-CAkey", f"{by}.key"]
    openssl(*arguments, "-CAcreateserial", "-days", "9", "-out", f"{name}.pem")
    return text(f"{name}.pem")


def refused(code, http_status, part, operation, /, **members):
    """The call is refused with this error, status and text."""
    try:
        operation(**members)
    except ClientError as err:
        found = (err.response["Error"]["Code"], err.response["ResponseMetadata"]["HTTPStatusCode"])
        assert found == (code, http_status), (found, err)
        assert part in str(err), err
        return err.response
    raise AssertionError(f"{operation} was not refused: {members}")


def pages(operation, result, **members):
    return [item for page in iot.get_paginator(operation).paginate(**members) for item in page[result]]


def description(made):
    return iot.describe_certificate(certificateId=made["certificateId"])["certificateDescription"]


def requests():
    made = iot.create_certificate_from_csr(certificateSigningRequest=request("csr", "/O=Makers/CN=pump-1"), setAsActive=True)
    assert made["certificateArn"] == f"{ACCOUNT}:cert/{made['certificateId']}", made
    shown = description(made)
    assert (shown["status"], shown["certificateMode"]) == ("ACTIVE", "DEFAULT"), shown
    assert shown["certificatePem"] == made["certificatePem"] and "caCertificateId" not in shown, shown
    (pathlib.Path(FOLDER.name) / "made.pem").write_text(made["certificatePem"])
    printed = openssl("x509", "-in", "made.pem", "-noout", "-subject", "-nameopt", "RFC2253", "-pubkey")
    assert "CN=pump-1,O=Makers" in printed, printed
    assert openssl("pkey", "-in", "csr.key", "-pubout") in printed, printed
    # The same request again is another certificate, and not active unless that is asked for.
    again = iot.create_certificate_from_csr(certificateSigningRequest=text("csr.csr"))
    assert again["certificateId"] != made["certificateId"] and description(again)["status"] == "INACTIVE"
    for key in (["-newkey", "rsa:2048", "-nodes"], ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-384", "-nodes"]):
        iot.create_certificate_from_csr(certificateSigningRequest=request("other", "/CN=other", key))
    for key in (["-newkey", "rsa:1024", "-nodes"], ["-newkey", "ed25519", "-nodes"]):
        weak = {"certificateSigningRequest": request("weak", "/CN=weak", key)}
        refused("InvalidRequestException", 400, "expected RSA with 2048 bits", iot.create_certificate_from_csr, **weak)
    for wrong in ("x", text("made.pem"), text("csr.csr")[:200]):
        wrong = {"certificateSigningRequest": wrong}
        refused("InvalidRequestException", 400, "certificateSigningRequest", iot.create_certificate_from_csr, **wrong)


def authorities():
    first = iot.get_registration_code()["registrationCode"]
    assert len(first) == 64 and iot.get_registration_code()["registrationCode"] == first, first
    iot.delete_registration_code()
    refused("ResourceNotFoundException", 404, "registration code", iot.delete_registration_code)
    one = {"caCertificate": ca("one"), "verificationCertificate": signed("early", "one", f"/CN={first}")}
    refused("RegistrationCodeValidationException", 400, "common name", iot.register_ca_certificate, **one)
    code = iot.get_registration_code()["registrationCode"]
    assert code != first
    refused("RegistrationCodeValidationException", 400, "common name", iot.register_ca_certificate, **one)
    one["verificationCertificate"] = signed("verification", "one", f"/CN={code}")
    made = iot.register_ca_certificate(**one, setAsActive=True, tags=[{"Key": "maker", "Value": "us"}])
    assert made["certificateArn"] == f"{ACCOUNT}:cacert/{made['certificateId']}", made
    assert iot.list_tags_for_resource(resourceArn=made["certificateArn"])["tags"] == [{"Key": "maker", "Value": "us"}]
    iot.untag_resource(resourceArn=made["certificateArn"], tagKeys=["maker"])
    err = refused("ResourceAlreadyExistsException", 409, made["certificateId"], iot.register_ca_certificate, **one)
    assert err["resourceId"] == made["certificateId"] and err["resourceArn"] == made["certificateArn"], err

    answer = iot.describe_ca_certificate(certificateId=made["certificateId"])
    shown = answer["certificateDescription"]
    assert "registrationConfig" not in answer, answer
    assert (shown["status"], shown["autoRegistrationStatus"]) == ("ACTIVE", "DISABLE"), shown
    assert (shown["certificateMode"], shown["customerVersion"]) == ("DEFAULT", 1), shown
    assert shown["certificatePem"] == one["caCertificate"] and shown["ownedBy"] == "123456789012", shown
    assert (shown["validity"]["notAfter"] - shown["validity"]["notBefore"]).days == 30, shown
    assert shown["creationDate"] == shown["lastModifiedDate"] and len(shown["generationId"]) == 36, shown

    # A CA that nobody shows the key of, one of another, what is no CA, and modes.
    other = {"caCertificate": ca("other"), "verificationCertificate": one["verificationCertificate"]}
    refused("CertificateValidationException", 400, "not signed by", iot.register_ca_certificate, **other)
    leaf = {"caCertificate": signed("leaf", "one"), "certificateMode": "SNI_ONLY"}
    refused("CertificateValidationException", 400, "CA:TRUE", iot.register_ca_certificate, **leaf)
    refused("CertificateValidationException", 400, "", iot.register_ca_certificate, caCertificate="x", certificateMode="SNI_ONLY")
    unverified = {"caCertificate": other["caCertificate"]}
    refused("InvalidRequestException", 400, "verificationCertificate", iot.register_ca_certificate, **unverified)
    refused("InvalidRequestException", 400, "verificationCertificate", iot.register_ca_certificate, certificateMode="SNI_ONLY", **other)
    template = {"templateBody": "{}", "roleArn": "arn:aws:iam::123456789012:role/Provision", "templateName": "Pumps"}
    sni = iot.register_ca_certificate(
        **unverified, certificateMode="SNI_ONLY", allowAutoRegistration=True, registrationConfig=template
    )
    answer = iot.describe_ca_certificate(certificateId=sni["certificateId"])
    assert answer["registrationConfig"] == template, answer
    shown = answer["certificateDescription"]
    assert (shown["status"], shown["autoRegistrationStatus"], shown["certificateMode"]) == ("INACTIVE", "ENABLE", "SNI_ONLY")

    found = {entry["certificateId"]: entry["status"] for entry in pages("list_ca_certificates", "certificates", PaginationConfig={"PageSize": 1})}
    assert found == {made["certificateId"]: "ACTIVE", sni["certificateId"]: "INACTIVE"}, found
    listed = iot.list_ca_certificates(ascendingOrder=True)["certificates"]
    assert [entry["certificateArn"] for entry in listed] == [made["certificateArn"], sni["certificateArn"]], listed
    named = iot.list_ca_certificates(templateName="Pumps")["certificates"]
    assert [entry["certificateId"] for entry in named] == [sni["certificateId"]], named
    assert iot.list_ca_certificates(templateName="Others")["certificates"] == []

    changes = {"certificateId": sni["certificateId"]}
    iot.update_ca_certificate(**changes, newStatus="ACTIVE", newAutoRegistrationStatus="DISABLE")
    shown = iot.describe_ca_certificate(**changes)["certificateDescription"]
    assert (shown["status"], shown["autoRegistrationStatus"], shown["customerVersion"]) == ("ACTIVE", "DISABLE", 2), shown
    both = {**changes, "removeAutoRegistration": True, "newAutoRegistrationStatus": "ENABLE"}
    refused("InvalidRequestException", 400, "removeAutoRegistration", iot.update_ca_certificate, **both)
    iot.update_ca_certificate(**changes, removeAutoRegistration=True)
    assert "registrationConfig" not in iot.describe_ca_certificate(**changes)
    refused("CertificateStateException", 406, "INACTIVE", iot.delete_ca_certificate, **changes)
    iot.update_ca_certificate(**changes, newStatus="INACTIVE")
    iot.delete_ca_certificate(**changes)
    for operation in (iot.describe_ca_certificate, iot.update_ca_certificate, iot.delete_ca_certificate):
        refused("ResourceNotFoundException", 404, sni["certificateId"], operation, **changes)
    return made


def of_authorities(authority):
    by_ca = {"caCertificateId": authority["certificateId"]}
    first = signed("first", "one")
    made = iot.register_certificate(certificatePem=first)
    shown = description(made)
    assert (shown["status"], shown["caCertificateId"]) == ("INACTIVE", authority["certificateId"]), shown
    refused("ResourceAlreadyExistsException", 409, made["certificateId"], iot.register_certificate, certificatePem=first)
    second = iot.register_certificate(certificatePem=signed("second", "one"), caCertificatePem=text("one.pem"), setAsActive=True)
    assert description(second)["status"] == "ACTIVE"
    third = iot.register_certificate(certificatePem=signed("third", "one"), status="REVOKED")
    assert description(third)["status"] == "REVOKED"
    expected = [item["certificateId"] for item in (made, second, third)]
    for ascending in (True, False):
        found = pages("list_certificates_by_ca", "certificates", ascendingOrder=ascending, PaginationConfig={"PageSize": 1}, **by_ca)
        ids = [entry["certificateId"] for entry in found]
        assert sorted(ids) == sorted(expected) and len(ids) == 3, found
    marker = iot.list_certificates_by_ca(pageSize=2, **by_ca)["nextMarker"]
    assert len(iot.list_certificates_by_ca(pageSize=2, marker=marker, **by_ca)["certificates"]) == 1
    refused("InvalidRequestException", 400, "token", iot.list_certificates, marker=marker)
    assert iot.list_certificates_by_ca(caCertificateId="0" * 64)["certificates"] == []

    # Of no CA that is registered, of one with the same name, of another CA than the one named.
    ca("stranger")
    stranger = signed("of-stranger", "stranger")
    refused("CertificateValidationException", 400, "not signed by", iot.register_certificate, certificatePem=stranger)
    named = {"certificatePem": stranger, "caCertificatePem": text("one.pem")}
    refused("CertificateValidationException", 400, "not signed by", iot.register_certificate, **named)
    named = {"certificatePem": stranger, "caCertificatePem": text("stranger.pem")}
    refused("CertificateValidationException", 400, "no registered CA", iot.register_certificate, **named)
    refused("CertificateValidationException", 400, "", iot.register_certificate, certificatePem="x")
    refused("InvalidRequestException", 400, "status", iot.register_certificate, certificatePem=stranger, status="PENDING_TRANSFER")
    alone = iot.register_certificate_without_ca(certificatePem=stranger, status="ACTIVE")
    shown = description(alone)
    assert "caCertificateId" not in shown and shown["certificateMode"] == "SNI_ONLY", shown

    # Two certificates of one CA's key and name: one of them must be named.
    openssl("req", "-x509", "-key", "one.key", "-subj", "/O=Makers/CN=Pump CA", "-days", "40", "-out", "renewed.pem")
    renewed = iot.register_ca_certificate(caCertificate=text("renewed.pem"), certificateMode="SNI_ONLY", setAsActive=True)
    fourth = signed("fourth", "one")
    refused("CertificateConflictException", 409, "caCertificatePem", iot.register_certificate, certificatePem=fourth)
    made = iot.register_certificate(certificatePem=fourth, caCertificatePem=text("renewed.pem"))
    assert description(made)["caCertificateId"] == renewed["certificateId"]

    # An inactive CA vouches for nothing new; what it vouched for stays as it is, and without the CA too.
    inactive = {"certificateId": renewed["certificateId"], "newStatus": "INACTIVE"}
    iot.update_ca_certificate(**inactive)
    fifth = {"certificatePem": signed("fifth", "one"), "caCertificatePem": text("renewed.pem")}
    refused("CertificateStateException", 406, "INACTIVE", iot.register_certificate, **fifth)
    # Named by nobody, the CA that is active is meant.
    assert description(iot.register_certificate(certificatePem=fifth["certificatePem"]))["caCertificateId"] == authority["certificateId"]
    iot.delete_ca_certificate(certificateId=renewed["certificateId"])
    assert description(made)["caCertificateId"] == renewed["certificateId"]
    iot.update_ca_certificate(certificateId=authority["certificateId"], newStatus="INACTIVE")
    sixth = {"certificatePem": signed("sixth", "one")}
    refused("CertificateStateException", 406, "INACTIVE", iot.register_certificate, **sixth)


def statuses():
    which = {"certificateId": iot.create_keys_and_certificate(setAsActive=True)["certificateId"]}
    for status in ("INACTIVE", "ACTIVE", "REVOKED", "ACTIVE", "INACTIVE"):
        iot.update_certificate(newStatus=status, **which)
        assert description(which)["status"] == status
    assert description(which)["customerVersion"] == 6
    for status in ("PENDING_TRANSFER", "REGISTER_INACTIVE", "PENDING_ACTIVATION"):
        refused("InvalidRequestException", 400, "newStatus", iot.update_certificate, newStatus=status, **which)
    refused("ResourceNotFoundException", 404, "0" * 64, iot.update_certificate, newStatus="ACTIVE", certificateId="0" * 64)
    iot.update_certificate(newStatus="ACTIVE", **which)
    refused("CertificateStateException", 406, "ACTIVE", iot.delete_certificate, **which)
    iot.update_certificate(newStatus="REVOKED", **which)
    iot.delete_certificate(**which)
    refused("ResourceNotFoundException", 404, which["certificateId"], iot.delete_certificate, **which)


requests()
of_authorities(authorities())
statuses()
FOLDER.cleanup()

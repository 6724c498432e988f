"""Runs the examples of the installed AWS CLI against Picket, and compares what is printed with what they say, field by field.

The examples are read from the installed package when this runs. Keys have to be the same, all the way down, and so has every
value, except what differs from account to account and from time to time: ids, times, certificates; of these the form has to
be the same. The scenario below says in which order the examples make sense, and what has to be there before each.

Asked for `violations`, it prints those of the examples, so that whoever runs this can put them where engines put theirs; of
these, ids and times have to be the same too.
"""

import contextlib
import datetime
import io
import json
import re
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

import awscli
import boto3
from awscli.clidriver import create_clidriver

EXAMPLES = Path(awscli.__file__).parent / "examples" / "iot"
iot = boto3.client("iot")

# Members whose values are made by the server: of these the form is compared.
MADE = re.compile(
    r"(Date|Time|Id|Pem|PublicKey|PrivateKey|notBefore|notAfter|endpointAddress|registrationCode|generationId)$"
)
# What AWS sorts, or gives in the order of creation backwards: compared as a set.
UNORDERED = {"searchableAttributes", "securityProfileTargets", "targets", "policies", "actionIdentifiers", "certificates", "tags"}
UNORDERED |= {"things", "dimensionNames", "summaries"}
# What we say beyond the example, which was recorded before AWS said it.
MORE = {"verificationState", "certificateMode", "picketWarnings"}


# Slips of the pages: what they show does not follow from what they send.
SLIPS = {
    "create-thing (1): .thingId",
    "describe-security-profile (1): .securityProfileDescription",
    "describe-security-profile (1): .behaviors[1].criteria.comparisonOperator",
    "update-security-profile (1): .securityProfileDescription",
    # Two profiles, where one is asked for (in the order in which they are compared).
    "get-behavior-model-training-summaries (1): .summaries[2].securityProfileName",
    # A policy denies explicitly, and yet the whole is an implicit denial.
    "test-authorization (1): .authResults[0].authDecision",
}


class Example:
    """One command of a page of examples, with its files and its output."""

    def __init__(self, name, at=0):
        text = (EXAMPLES / f"{name}.rst").read_text()
        parts = re.split(r"^(?= {4}aws iot )", text, flags=re.MULTILINE)[1:]
        self.name, text = f"{name} ({at + 1})", parts[at]
        command, rest = re.split(r"\n(?!.*\\\n)\s*\n", text, maxsplit=1)
        self.words = shlex.split(re.sub(r"\\ *\n", " ", command))[1:]
        self.files = dict(re.findall(r"Contents of ``([\w.]+)``:+\n\n((?:    .*\n|\n)+)", rest))
        output = re.search(r"^Output::\s*\n\n((?: {3,}.*\n|\n)+)", rest, flags=re.MULTILINE)
        # One page has the status in place of an output.
        self.output = self._read(output.group(1)) if output and "{" in output.group(1) else None

    def run(self, replaced, files, **options):
        """What the CLI prints; `replaced` are words of the command that mean something else here, `files` what it reads."""
        words = [self._word(word, replaced) for word in self.words]
        if "--region" in words:  # The key is for one region, and so are the ARNs.
            at = words.index("--region")
            del words[at : at + 2]
        words += [word for name, value in options.items() for word in (f"--{name}", value)]
        out, err = io.StringIO(), io.StringIO()
        with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
            for name, content in {**self.files, **files}.items():
                Path(name).write_text(content)
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                code = create_clidriver().main(words)
        assert code == 0, f"{self.name}: {words}: {err.getvalue()}"
        return json.loads(out.getvalue()) if out.getvalue().strip() else None

    @staticmethod
    def _read(text):
        # A key that is broken by hand in one of the pages, times without quotes in another, words for a certificate.
        text = text.replace("<certificate-text>", "-----BEGIN CERTIFICATE-----")
        text = re.sub(r'\\(?!["\\/bfnrtu])', r"\\n", text)
        text = re.sub(r": (\d{4}-\d\d-\d\dT[^\s,]*)", r': "\1"', text)
        return json.loads(text, strict=False)

    @staticmethod
    def _word(word, replaced):
        # A slip in one of the pages.
        word = word.replace("file::", "file://")
        for old, new in replaced.items():
            word = word.replace(old, new)
        return re.sub(r"arn:aws:iot:[^:]*:\d+:", "arn:aws:iot:eu-central-1:123456789012:", word)


def form(value):
    """The form of a value that is made by the server: letters, digits and their number where that is fixed."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return "number"
    if isinstance(value, str) and re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", value):
        return "uuid"
    if isinstance(value, str) and re.fullmatch(r"[0-9a-f]{32}|[0-9a-f]{64}", value):
        return f"{len(value)} hex digits"
    return re.findall("-----BEGIN ([A-Z ]+)-----", str(value)) or type(value).__name__


def instant(value):
    """A time as some version of the CLI prints it, in seconds; any other value as it is."""
    with contextlib.suppress(ValueError, TypeError):
        return datetime.datetime.fromisoformat(value).timestamp()
    return value


def is_time(value):
    """Whether it is a time as some version of the CLI prints it."""
    if isinstance(value, (int, float)):
        return True
    with contextlib.suppress(ValueError, TypeError):
        return bool(datetime.datetime.fromisoformat(value))
    return False


def differences(expected, found, path="", exactly=False):
    """Where the answer is not as in the example; if exactly, what the server makes has to be the same too."""
    name = path.rsplit(".", 1)[-1].split("[")[0]
    if isinstance(expected, dict) and isinstance(found, dict):
        for key in sorted((expected.keys() ^ found.keys()) - (MORE - expected.keys())):
            yield f"{path}.{key} is only in the {'example' if key in expected else 'answer'}"
        for key in expected.keys() & found.keys():
            yield from differences(expected[key], found[key], f"{path}.{key}", exactly)
    elif isinstance(expected, list) and isinstance(found, list):
        if name in UNORDERED:
            expected, found = (sorted(values, key=sort_key) for values in (expected, found))
        if len(expected) != len(found):
            yield f"{path} has {len(found)} elements, expected {len(expected)}: {found}"
        for at, (one, other) in enumerate(zip(expected, found)):
            yield from differences(one, other, f"{path}[{at}]", exactly)
    elif exactly:
        if instant(expected) != instant(found):
            yield f"{path} is {found!r}, expected {expected!r}"
    elif MADE.search(name):
        if not (is_time(expected) and is_time(found)) and form(expected) != form(found):
            yield f"{path} is {found!r}, expected the form of {expected!r}"
    elif unified(expected) != unified(found):
        yield f"{path} is {found!r}, expected {expected!r}"


def sort_key(value):
    return json.dumps(unified(value) if isinstance(value, str) else value, sort_keys=True)


def unified(value):
    """Without what differs from account to account."""
    if not isinstance(value, str):
        return value
    if value.lstrip().startswith("{"):
        return json.loads(value, strict=False)
    value = re.sub(r"arn:aws:iot:[^:]*: ?\d+:", "arn:", value)
    return re.sub(r"[0-9a-f]{64}", "<id>", value)


def certificate(status="ACTIVE"):
    """A registered certificate; its id."""
    return iot.create_keys_and_certificate(setAsActive=status == "ACTIVE")["certificateId"]


def arn(resource):
    return f"arn:aws:iot:eu-central-1:123456789012:{resource}"


DOCUMENT = json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "iot:UpdateCertificate", "Resource": "*"}]})
WRONG = []
DONE = []


def play(name, at=0, replaced=None, files=None, exactly=False, **options):
    """Runs an example and keeps what differs; answers what was printed."""
    example = Example(name, at)
    found = example.run(replaced or {}, files or {}, **options)
    DONE.append(example.name)
    if example.output is not None:
        wrong = (f"{example.name}: {text}" for text in differences(example.output, found or {}, exactly=exactly))
        WRONG.extend(text for text in wrong if text.split(" is ")[0] not in SLIPS)
    else:
        assert found is None, f"{example.name}: {found}"
    return found


def things():
    play("create-thing-type")
    play("list-thing-types")
    play("describe-thing-type")
    play("create-thing")
    # The example's quotes are not what a shell would pass on.
    bulb = {"attribute-payload": json.dumps({"attributes": {"wattage": "75", "model": "123"}})}
    play("create-thing", 1, **bulb)
    play("describe-thing")
    iot.create_thing(thingName="MyOtherLightBulb")
    play("update-thing", **bulb)
    play("update-thing", **bulb)
    play("list-things", 1)
    iot.create_thing(thingName="ThirdBulb")
    play("update-thing", replaced={"MyOtherLightBulb": "ThirdBulb"}, **bulb)
    play("list-things", 0)
    iot.create_thing_type(thingTypeName="obsoleteThingType")
    play("deprecate-thing-type", 0)
    play("deprecate-thing-type", 1)
    iot.create_thing(thingName="FourthBulb")
    play("delete-thing")


def groups():
    play("create-thing-group", 0)
    play("create-thing-group", 1)
    play("describe-thing-group")
    play("list-thing-groups")
    play("add-thing-to-thing-group")
    play("list-things-in-thing-group")
    iot.create_thing_group(thingGroupName="DeadBulbs")
    iot.add_thing_to_thing_group(thingGroupName="DeadBulbs", thingName="MyLightBulb")
    play("list-thing-groups-for-thing")
    play("update-thing-group")
    iot.create_thing_group(thingGroupName="replaceableItems")
    play("update-thing-groups-for-thing")
    iot.create_thing(thingName="bulb7")
    iot.add_thing_to_thing_group(thingGroupName="DeadBulbs", thingName="bulb7")
    play("remove-thing-from-thing-group")
    iot.create_thing_group(thingGroupName="DefectiveBulbs")
    play("delete-thing-group")
    play("tag-resource")
    iot.tag_resource(resourceArn=arn("thinggroup/LightBulbs"), tags=[{"Key": "MyTag", "Value": "777"}])
    play("list-tags-for-resource")


def policies():
    for name in ("UpdateDeviceCertPolicy", "PlantIoTPolicy", "MyPiGroup_Core-policy"):
        iot.create_policy(policyName=name, policyDocument=DOCUMENT)
    play("list-policies")
    play("delete-policy")
    play("create-policy")
    iot.create_policy(policyName="UpdateDeviceCertPolicy", policyDocument=DOCUMENT)
    play("create-policy-version")
    play("get-policy")
    # The page names the other operation.
    play("get-policy-version", replaced={"get-policy": "get-policy-version"})
    iot.create_policy(policyName="LightBulbPolicy", policyDocument=DOCUMENT)
    iot.create_policy_version(policyName="LightBulbPolicy", policyDocument=DOCUMENT, setAsDefault=True)
    play("list-policy-versions")
    for at in (0, 1):
        play("attach-policy", at, {CERTIFICATES[0]: certificate()})
    iot.detach_policy(policyName="UpdateDeviceCertPolicy", target=arn("thinggroup/LightBulbs"))
    iot.attach_policy(policyName="UpdateDeviceCertPolicy", target=arn(f"cert/{certificate()}"))
    play("list-targets-for-policy")
    iot.attach_policy(policyName="UpdateDeviceCertPolicy", target=arn("thinggroup/LightBulbs"))
    play("list-attached-policies", 0)
    iot.detach_policy(policyName="UpdateDeviceCertPolicy", target=arn("thinggroup/LightBulbs"))
    own = certificate()
    iot.attach_policy(policyName="TemperatureSensorPolicy", target=arn(f"cert/{own}"))
    play("list-attached-policies", 1, {CERTIFICATES[3]: own})
    iot.create_thing(thingName="TemperatureSensor-001")
    iot.attach_thing_principal(thingName="TemperatureSensor-001", principal=arn(f"cert/{own}"))
    play("get-effective-policies", replaced={CERTIFICATES[3]: own})
    play("detach-policy", 1, {CERTIFICATES[3]: own})
    play("set-default-policy-version")
    iot.create_policy_version(policyName="UpdateDeviceCertPolicy", policyDocument=DOCUMENT, setAsDefault=True)
    play("delete-policy-version")
    authorization()


def authorization():
    own = certificate()
    connect = {"Version": "2012-10-17", "Statement": [{"Action": "iot:Connect", "Resource": "*"}]}
    for name, effect in [("TestPolicyAllowed", "Allow"), ("TestPolicyExplicitDenied", "Deny"), ("TestPolicyDenied", None)]:
        connect["Statement"][0]["Effect"] = effect
        iot.create_policy(policyName=name, policyDocument=json.dumps(connect) if effect else DOCUMENT)
        iot.attach_policy(policyName=name, target=arn(f"cert/{own}"))
    (result,) = play("test-authorization", replaced={CERTIFICATES[5]: own})["authResults"]
    assert result["authDecision"] == "EXPLICIT_DENY", result
    iot.detach_policy(policyName="TestPolicyExplicitDenied", target=arn(f"cert/{own}"))
    (result,) = iot.test_authorization(principal=arn(f"cert/{own}"), authInfos=[result["authInfo"]])["authResults"]
    assert result["authDecision"] == "ALLOWED", result


# Ids of the examples, which are certificates' of somebody else.
CERTIFICATES = [
    "4f0ba725787aa94d67d2fca420eca022242532e8b3c58e7465c7778b443fd65e",
    "2e1eb273792174ec2b9bf4e9b37e6c6c692345499506002a35159767055278e8",
    "c0c57bbc8baaf4631a9a0345c957657f5e710473e3ddbee1428d216d54d53ac9",
    "488b6a7f2acdeb00a77384e63c4e40b18b1b3caaae57b7272ba44c45e3448142",
    "d1eb269fb55a628552143c8f96eb3c258fcd5331ea113e766ba0c82bf225f0be",
    "aab1068f7f43ac3e3cae4b3a8aa3f308d2a750e6350507962e32c1eb465d9775",
    "604c48437a57b7d5fc5d137c5be75011c6ee67c9a6943683a1acb4b1626bac36",
]
CA = "f4efed62c0142f16af278166f61962501165c4f0536295207426460058cd1467"


def certificates():
    # The newest comes first, so these are among no others.
    others = iot.list_certificates()["certificates"]
    assert not others, others
    for _ in range(6):
        certificate()
    play("list-certificates")
    made = play("create-keys-and-certificate")
    keys = made["keyPair"]["PrivateKey"], made["keyPair"]["PublicKey"]
    assert openssl("pkey", "-pubout", stdin=keys[0]) == keys[1], made
    assert openssl("x509", "-noout", "-pubkey", stdin=made["certificatePem"]) == keys[1], made
    own = certificate()
    play("describe-certificate", replaced={CERTIFICATES[0]: own})
    play("update-certificate", replaced={CERTIFICATES[4]: certificate()})
    play("get-registration-code")
    play("delete-registration-code")
    for thing in ("MyTemperatureSensor", "DeskLamp", "TableLamp", "MyRaspberryPi"):
        iot.create_thing(thingName=thing)
    play("attach-thing-principal", replaced={CERTIFICATES[1]: own})
    iot.detach_thing_principal(thingName="MyTemperatureSensor", principal=arn(f"cert/{own}"))
    for thing in ("DeskLamp", "TableLamp"):
        iot.attach_thing_principal(thingName=thing, principal=arn(f"cert/{own}"))
    play("list-principal-things", replaced={CERTIFICATES[1]: own})
    iot.attach_thing_principal(thingName="MyRaspberryPi", principal=arn(f"cert/{own}"))
    play("list-thing-principals")
    play("delete-certificate", replaced={CERTIFICATES[2]: certificate("INACTIVE")})
    iot.attach_thing_principal(thingName="MyLightBulb", principal=arn(f"cert/{own}"))
    play("detach-thing-principal", replaced={CERTIFICATES[6]: own})
    authorities()


def openssl(*arguments, **files):
    """Runs openssl in a folder with these files, where `_` stands for a dot; what it prints."""
    stdin = files.pop("stdin", None)
    with tempfile.TemporaryDirectory() as folder:
        for name, content in files.items():
            (Path(folder) / name.replace("_", ".")).write_text(content)
        done = subprocess.run(["openssl", *arguments], cwd=folder, input=stdin, capture_output=True, text=True)
    assert done.returncode == 0, done
    return done.stdout


def authorities():
    key = openssl("genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048")
    root = openssl("req", "-x509", "-key", "ca.key", "-subj", "/O=Makers/CN=Pump CA", "-days", "30", ca_key=key)

    def signed(common_name):
        csr = openssl("req", "-new", "-key", "own.key", "-subj", f"/CN={common_name}", own_key=key)
        by = ["-CA", "ca.pem", "-CAkey", "ca.key", "-set_serial", "7", "-days", "9"]
        return csr, openssl("x509", "-req", "-in", "own.csr", *by, own_csr=csr, ca_pem=root, ca_key=key)

    verification = signed(iot.get_registration_code()["registrationCode"])[1]
    files = {"rootCA.pem": root, "verificationCert.pem": verification}
    own = {CA: play("register-ca-certificate", files=files)["certificateId"]}
    play("describe-ca-certificate", replaced=own)
    play("list-ca-certificates")
    play("update-ca-certificate", replaced=own)
    csr, device = signed("pump-7")
    device = play("register-certificate", files={"deviceCert.pem": device, "rootCA.pem": root})
    iot.update_certificate(certificateId=device["certificateId"], newStatus="ACTIVE")
    play("list-certificates-by-ca", replaced=own)
    iot.update_ca_certificate(certificateId=own[CA], newStatus="INACTIVE")
    play("delete-ca-certificate", replaced=own)
    play("create-certificate-from-csr", files={"certificate.csr": csr})


def detect():
    play("create-security-profile")
    play("describe-security-profile")
    play("update-security-profile")
    for at in (0, 1):
        play("validate-security-profile-behaviors", at)
    play("delete-security-profile")
    iot.create_security_profile(securityProfileName="Testprofile")
    play("list-security-profiles")
    play("attach-security-profile")
    play("list-security-profiles-for-target")
    iot.attach_security_profile(
        securityProfileName="Testprofile", securityProfileTargetArn=arn("all/registered-things")
    )
    play("list-targets-for-security-profile")
    play("detach-security-profile")
    play("create-custom-metric")
    play("list-custom-metrics")
    play("update-custom-metric")
    play("delete-custom-metric")
    iot.create_custom_metric(
        metricName="myCustomMetric", metricType="number", displayName="My custom metric", clientRequestToken="1"
    )
    play("describe-custom-metric")
    play("create-dimension")
    play("describe-dimension")
    play("update-dimension")
    more = {"name": "TopicFilterForActivityMessages", "type": "TOPIC_FILTER", "clientRequestToken": "1"}
    iot.create_dimension(**more, stringValues=["a/+"])
    play("list-dimensions")
    play("delete-dimension")
    learned()
    violations()


def learned():
    names = {
        "Messages_sent_ML_behavior": "aws:num-messages-sent",
        "Messages_received_ML_behavior": "aws:num-messages-received",
        "Authorization_failures_ML_behavior": "aws:num-authorization-failures",
        "Message_size_ML_behavior": "aws:message-byte-size",
        "Connection_attempts_ML_behavior": "aws:num-connection-attempts",
        "Disconnects_ML_behavior": "aws:num-disconnects",
    }
    criteria = {"mlDetectionConfig": {"confidenceLevel": "HIGH"}}
    behaviors = [{"name": name, "metric": metric, "criteria": criteria} for name, metric in names.items()]
    iot.create_security_profile(securityProfileName="MySecuirtyProfileName", behaviors=behaviors)
    play("get-behavior-model-training-summaries")


def violations():
    """They are there before this runs; page after page they are the same."""
    for name in ("list-active-violations", "list-violation-events"):
        play(name, exactly=True)
        for size in "1", "3":
            play(name, exactly=True, **{"page-size": size})


def mitigation():
    play("create-mitigation-action")
    play("delete-mitigation-action")
    params = {"addThingsToThingGroupParams": {"thingGroupNames": ["QuarantineGroup1"], "overrideDynamicGroups": True}}
    role = "arn:aws:iam::123456789012:role/service-role/MoveThingsToQuarantineGroupRole"
    iot.create_mitigation_action(actionName="AddThingsToQuarantineGroupAction", roleArn=role, actionParams=params)
    play("describe-mitigation-action")
    for action in Example("list-mitigation-actions").output["actionIdentifiers"]:
        if action["actionName"] != "AddThingsToQuarantineGroupAction":
            iot.create_mitigation_action(actionName=action["actionName"], roleArn=role, actionParams=params)
    play("list-mitigation-actions")
    play("list-mitigations-actions")
    play("update-mitigation-action")


def settings():
    play("describe-event-configurations")
    play("describe-endpoint", 0)
    play("describe-endpoint", 1)
    play("update-event-configurations")
    play("set-v2-logging-options")
    iot.set_v2_logging_options(defaultLogLevel="WARN", roleArn="arn:aws:iam::094249569039:role/service-role/iotLoggingRole")
    play("get-v2-logging-options")
    role = "arn:aws:iam::123456789012:role/service-role/iotLoggingRole"
    iot.set_logging_options(loggingOptionsPayload={"roleArn": role, "logLevel": "ERROR"})
    play("get-logging-options")


def main():
    if sys.argv[1:] == ["violations"]:
        for name, result in (("list-active-violations", "activeViolations"), ("list-violation-events", "violationEvents")):
            listed = json.dumps(Example(name).output[result])
            print(json.dumps(json.loads(listed, parse_float=lambda secs: int(float(secs) * 1000))))
        return
    for part in (things, certificates, groups, policies, detect, mitigation, settings):
        part()
    print(f"{len(DONE)} examples")
    assert not WRONG, "\n".join(WRONG)


main()

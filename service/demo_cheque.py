"""The part of the demonstration that is about whole cheques: two must sign, and a picture shows what was found."""

from pathlib import Path

from rich.console import Console

from service.demo_client import Client

ACCOUNT = "20000001"
SIGNERS = {"A": "elena-petrov", "B": "bruno-castel"}
"""By group; both have signed `cheque-of-two.jpg`."""


def show(client: Client, samples: Path, out: Path, console: Console) -> None:
    signatories = [{"customer_id": person, "group": group} for group, person in SIGNERS.items()]
    rules = [
        {"currency": "EUR", "up_to": "1000.00", "any_of": [{"A": 1}, {"B": 1}]},
        {"currency": "EUR", "any_of": [{"A": 1, "B": 1}]},
    ]
    client.put(f"/v1/accounts/{ACCOUNT}", {"signatories": signatories, "rules": rules}, expect=201)
    asked = {"kind": "cheque", "amount": "2500.00", "currency": "EUR"}
    image = {"image": [samples / "cheque-of-two.jpg"]}
    answer = client.post(f"/v1/accounts/{ACCOUNT}/verifications", asked, image, expect=201)
    console.print("\nA cheque of EUR 2,500.00 on an account where two must sign above EUR 1,000.00")
    for found in answer["signatures"]:
        console.print(f"  signature at {found['box']}: {found['customer_id']}, score {found['score']:.3f}")
    ms = answer["timings_ms"]["total"]
    console.print(f"  {answer['outcome']}: {', '.join(answer['reasons'])}, {ms:.1f} ms in the server")
    evidence = out / "evidence.png"
    evidence.write_bytes(client.download(f"/v1/verifications/{answer['verification_id']}/evidence.png"))
    console.print(f"  The evidence as a picture: [bold]{evidence}[/bold]")

def test_a_customer_accepts(billing):
    to = "accept@sandbox.example"
    customer = {"name": "Horns and Hooves", "invitationEmail": to, "person": {"name": "Ostap"}}
    body = {"resellerId": billing.reseller_id, **customer}
    billing.call("POST", "/billing/v1/customers:invite", body)
    assert billing.mail.wait(to)["Subject"].isprintable()
    billing.clock.advance(1)  # a second, and all that is due until then: the customer has answered
    assert "invitation.accepted" in [event["type"] for event in billing.events()]

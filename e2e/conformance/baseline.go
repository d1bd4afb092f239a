package main

// notBefore are the scenarios that say nothing about a host of before 2026-07-28, and why. One that passes all the same
// fails the run: its row goes.
var notBefore = map[string]string{
	"http-standard-headers": "the suite's server of 2026-07-28 answers initialize, so it passes for an older one and nothing is translated",
	"request-metadata":      "the suite's server of 2026-07-28 answers initialize, with an empty result",
}

// refusals are the scenarios in which the host must get an error, and the words it must hold: in them, giving up for
// another reason would look the same to the suite.
var refusals = map[string]string{
	"auth/resource-mismatch":        "the document speaks for https://evil.example.com/mcp, not for ",
	"auth/metadata-issuer-mismatch": "the document speaks for https://attacker.example.com, not for ",
	"auth/iss-supported-missing":    "names itself in its answers, this one carries no name",
	"auth/iss-wrong-issuer":         "the answer came from another issuer",
	"auth/iss-unexpected":           "the answer came from another issuer",
	"auth/iss-normalized":           "the answer came from another issuer",
	"auth/scope-retry-limit":        "", // the suite's server breaks off before Valet Key gives up
}

package quirk

import "strings"

// text is what a person reads about a quirk, in English. "{value}" stands for its value.
type text struct {
	Title   string // of the question about it, with "{server}" or "{issuer}" where that stands; "" if it has none of its own
	Meaning string // what accepting or setting it means, in a sentence or two
	Nobody  string // the same of one whose value is ""; "" if that is nothing else
	Setting Setting
}

// Setting is what a person reads where they may set a quirk of their own accord.
type Setting struct {
	Label  string // of its row on the server's page
	Off    string // how it is without it
	Action string // of the button
	Busy   string // while it is being set
	Over   string // what a sign-in means that ends it
	Hint   string // about a value that it cannot have

	Sure, SureAction string // what is asked before it is set, its meaning behind it; "": nothing
	Example, Help    string // of a value

	Flag, Usage string // of the command vk signin; "" for none
}

const (
	wrongTokens = "Something is wrong with the tokens for {server}"
	notKnown    = "This program does not know what this means."
)

// texts are those of all rows, by name.
var texts = map[string]text{
	Audience: {
		Meaning: "Tokens made out to “{value}” are handed out, although that is not this server's address. Whoever gets one may be able to use it wherever that name counts.",
		Nobody:  "Tokens that name no server are handed out. Whoever gets one may be able to use it at other servers of the same issuer.",
	},
	Issuer: {
		Meaning: "Tokens that name “{value}” as their issuer are handed out, although they come from another. They must still be signed with a key of the one they come from.",
	},
	IssuerSlash: {
		Title:   "{server} writes its issuer's address differently",
		Meaning: "The issuer may write its own name with a slash more or less at the end. Everything else of the name must be the same.",
	},
	NoResource: {
		Title:   "{issuer} does not make out tokens to one server",
		Meaning: "The issuer is not told which server a token is for, because it refuses to hear it. A token is then bound to no server: one that leaks may be good elsewhere.",
	},
	PKCEUnlisted: {
		Title:   "{issuer} does not say that it checks PKCE",
		Meaning: "PKCE keeps whoever intercepts the end of a sign-in from finishing it. Valet Key uses it here too, but this issuer does not say that it looks at it, as MCP demands.",
	},
	Unchecked: {
		Meaning: "Tokens are handed out whatever the checks say, even one that was made for another server or signed by nobody. The result is still shown.",
		Setting: Setting{
			Label: "Checks", Off: "on: a token that is wrong stays here", Action: "Switch off", Busy: "Switching off…",
			Sure: "Hand out tokens of this server that fail the checks?", SureAction: "Switch the checks off",
		},
	},
	Parameters: {
		Meaning: "When you sign in, the issuer is also sent “{value}”. What that does is the issuer's own affair; its documentation says it.",
		Setting: Setting{
			Label: "Also send", Off: "nothing besides what MCP knows of", Action: "Add", Busy: "Setting…",
			Over:    "Nothing is added any more to what the issuer is sent.",
			Hint:    "write it as the issuer's documentation does: access_type=offline, or audience=https://api.example.com",
			Example: "access_type=offline",
			Help: "A parameter that the issuer's documentation tells you to send, as NAME=VALUE; " +
				"several are joined by “&”. It counts from the next sign-in.",
			Flag: "parameter", Usage: "extra `NAME=VALUE` to send the issuer (\"\" clears them)",
		},
	},
	DPoP: {
		Meaning: "Tokens are bound to a key that stays in Valet Key (DPoP), so one that leaks is of no use. Programs use the server through Valet Key, or ask it for a proof with each request.",
		Setting: Setting{
			Label: "Key", Off: "tokens are good for whoever has them", Action: "Bind to a key", Busy: "Setting…",
			Flag: "dpop", Usage: "bind tokens to a key that stays in Valet Key (DPoP), if the server accepts that",
		},
	},
}

// Setting is what the person reads where they may set r.
func (r Row) Setting() Setting { return texts[r.Name].Setting }

// Setting is what the person reads where they may set q.
func (q Quirk) Setting() Setting { return texts[q.Name].Setting }

// Title says what a question about q is about, as a sentence without its end, with "{server}" or "{issuer}" in it.
func (q Quirk) Title() string {
	if title := texts[q.Name].Title; title != "" {
		return title
	}
	return wrongTokens
}

// Meaning says what accepting or setting q means, in a sentence or two for the person.
func (q Quirk) Meaning() string {
	t, ok := texts[q.Name]
	switch {
	case !ok:
		return notKnown
	case q.Value == "" && t.Nobody != "":
		return t.Nobody
	}
	return strings.ReplaceAll(t.Meaning, "{value}", q.Value)
}

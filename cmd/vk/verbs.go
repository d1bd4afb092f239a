package main

import (
	"context"
	"fmt"
	"runtime/debug"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/valetkey/valetkey/localapi"
	"github.com/valetkey/valetkey/quirk"
)

// version is set when a release is built.
var version = ""

// options are the flags of all verbs.
type options struct {
	json, noInteraction, verbose       bool
	secretStdin, keyStdin              bool
	scopes                             []string
	account, reason, clientID, issuer  string
	host, server, keyID, grantType     string
	minValid, timeout                  time.Duration
	name, via                          string
	list, yes, print, noStart, explain bool
	device                             bool
	wanted                             map[string]*bool     // of quirks, by name
	values                             map[string]*[]string // of quirks that have one

	assertionFile, enterprise, enterpriseID, enterpriseKeyID string
	enterpriseSecretStdin, enterpriseKeyStdin, remove        bool
}

// verb is one thing vk can do.
type verb struct {
	name, args       string
	minArgs, maxArgs int
	short            string // for the list of verbs
	long             string // for its own help
	flags            func(*pflag.FlagSet, *options)
	run              func(p *program, ctx context.Context, o *options, args []string) error
}

// verbs lists them in the order of help.
func verbs() []*verb {
	none := func(*pflag.FlagSet, *options) {}
	return []*verb{
		{"token", "URL|NAME", 1, 1, "print a token for a server", tokenHelp, tokenFlags, (*program).token},
		{"start", "", 0, 0, "start Valet Key, if it does not run", startHelp, none, (*program).start},
		{"signin", "URL|NAME", 1, 1, "sign in to a server", signInHelp, signInFlags, (*program).signIn},
		{"list", "", 0, 0, "list the servers you gave Valet Key access to", listHelp, jsonFlag, (*program).list},
		{"show", "URL|NAME", 1, 1, "show one server: accounts, scopes, hosts", showHelp, jsonFlag, (*program).show},
		{"forget", "URL|NAME", 1, 1, "forget a server, and revoke what it granted", forgetHelp, forgetFlags, (*program).forget},
		{"status", "", 0, 0, "show whether Valet Key runs, and how it is", statusHelp, jsonFlag, (*program).status},
		{"client", "URL|NAME", 1, 1, "set the client ID you got from an issuer", clientHelp, clientFlags, (*program).register},
		{"connect", "HOST URL", 0, 2, "give a host a server through Valet Key", fmt.Sprintf(connectHelp, hostKeys()), connectFlags, (*program).connect},
		{"disconnect", "HOST URL|NAME", 2, 2, "take a server from a host again", disconnectHelp, disconnectFlags, (*program).disconnect},
		{"import", "", 0, 0, "offer the servers that hosts have without Valet Key", importHelp, none, (*program).importServers},
		{"doctor", "", 0, 0, "look whether everything is as it should be", doctorHelp, none, (*program).doctor},
		{"bridge", "URL|NAME", 1, 1, "be an MCP server on stdio, in front of one at a URL", bridgeHelp, bridgeFlags, (*program).bridge},
		{"headers", "", 0, 0, "print the headers for a server, for a host that asks", headersHelp, headersFlags, (*program).headers},
		{"version", "", 0, 0, "print the version of vk", "Prints the version of vk.", none, (*program).version},
		{"help", "[VERB]", 0, 1, "explain vk, or one verb", "Explains vk, or one verb.", none, (*program).help},
	}
}

func jsonFlag(f *pflag.FlagSet, o *options) {
	f.BoolVar(&o.json, "json", false, "print JSON")
}

func noStartFlag(f *pflag.FlagSet, o *options) {
	f.BoolVar(&o.noStart, "no-start", false, "do not start Valet Key where it does not run")
}

func accessFlags(f *pflag.FlagSet, o *options) {
	f.StringArrayVar(&o.scopes, "scope", nil, "a `SCOPE` to ask for; give the flag once for each")
	f.StringVar(&o.account, "account", "", "the `ACCOUNT`, by the name you gave it")
}

func tokenFlags(f *pflag.FlagSet, o *options) {
	accessFlags(f, o)
	f.DurationVar(&o.minValid, "min-valid", time.Minute, "`DURATION` the token must still live, such as 90s or 10m")
	f.BoolVar(&o.noInteraction, "no-interaction", false, "never ask you anything: fail instead")
	f.StringVar(&o.reason, "reason", "", "`TEXT` to show you in the question")
	f.BoolVar(&o.json, "json", false, "print the whole answer as JSON")
	f.BoolVar(&o.explain, "explain", false, "print what Valet Key found in the token, and not the token")
	noStartFlag(f, o)
}

func (p *program) token(ctx context.Context, o *options, args []string) error {
	if o.minValid < 0 {
		return usage("token", "--min-valid cannot be negative")
	}
	p.starts = !o.noStart
	server, err := p.server(ctx, args[0])
	if err != nil {
		return err
	}
	req := localapi.TokenRequest{
		Resource: server, Account: o.account, Scopes: split(o.scopes), Reason: o.reason,
		MinValidS: int((o.minValid + time.Second - 1) / time.Second),
	}
	asking := askPerson[localapi.Token]
	if o.noInteraction {
		req.Interaction, asking = localapi.InteractionNone, ask[localapi.Token]
	}
	if o.explain {
		return p.explain(ctx, o, req)
	}
	token, err := asking(p, ctx, func(c *localapi.Client, ctx context.Context) (*localapi.Token, error) { return c.Token(ctx, req) })
	if err != nil {
		return err
	}
	if o.json {
		return p.printJSON(token)
	}
	return p.print(token.AccessToken.Reveal() + "\n")
}

func signInFlags(f *pflag.FlagSet, o *options) {
	accessFlags(f, o)
	o.wanted, o.values = map[string]*bool{}, map[string]*[]string{}
	o.settingFlags(f, true)
	f.BoolVar(&o.device, "device", false, "sign in on another device, with a code that Valet Key shows, where the issuer can do that")
	o.settingFlags(f, false)
}

// settingFlags are the flags of quirks that anybody may set: those that have a value, or those that have none.
func (o *options) settingFlags(f *pflag.FlagSet, valued bool) {
	for _, r := range quirk.Settings() {
		switch words := r.Setting(); {
		case r.Who != quirk.Set || (r.Form != "") != valued:
		case valued:
			o.values[r.Name] = f.StringArray(words.Flag, nil, words.Usage)
		default:
			o.wanted[r.Name] = f.Bool(words.Flag, false, words.Usage)
		}
	}
}

func (p *program) signIn(ctx context.Context, o *options, args []string) error {
	server, err := p.server(ctx, args[0])
	if err != nil {
		return err
	}
	req := localapi.SignInRequest{Resource: server, Account: o.account, Scopes: split(o.scopes), Device: o.device}
	for _, r := range quirk.Settings() {
		set := quirk.Quirk{Name: r.Name}
		if values := o.values[r.Name]; values != nil && *values != nil {
			set.Value = r.Join(*values)
			if err := r.Check(set.Value); err != nil && !set.Over() {
				return usage("signin", "--%s %v", r.Setting().Flag, err)
			}
		} else if wanted := o.wanted[r.Name]; wanted == nil || !*wanted {
			continue
		}
		req.Quirks = append(req.Quirks, set.String())
	}
	grant, err := askPerson(p, ctx, func(c *localapi.Client, ctx context.Context) (*localapi.Grant, error) { return c.SignIn(ctx, req) })
	if err != nil {
		return err
	}
	return p.print(fmt.Sprintf("signed in to %s\n", named(*grant)))
}

func forgetFlags(f *pflag.FlagSet, o *options) {
	f.StringVar(&o.account, "account", "", "forget this `ACCOUNT` only")
}

func (p *program) forget(ctx context.Context, o *options, args []string) error {
	server, err := p.server(ctx, args[0])
	if err != nil {
		return err
	}
	req := localapi.ForgetRequest{Resource: server, Account: o.account}
	forgotten, err := askPerson(p, ctx, func(c *localapi.Client, ctx context.Context) (*localapi.Forgotten, error) { return c.Forget(ctx, req) })
	if err != nil {
		return err
	}
	var out strings.Builder
	for _, g := range forgotten.Grants {
		fmt.Fprintf(&out, "forgot %s\n", named(g))
	}
	for _, sentence := range forgotten.NotRevoked {
		fmt.Fprintln(p.stderr, "vk:", clean(sentence))
	}
	return p.print(out.String())
}

func (p *program) version(context.Context, *options, []string) error {
	v := version
	if info, ok := debug.ReadBuildInfo(); ok && v == "" {
		v = info.Main.Version
	}
	if v == "" {
		v = "(devel)"
	}
	return p.print("vk " + v + "\n")
}

// split takes apart scopes that were given as one argument with spaces, as scope parameters are written.
func split(scopes []string) []string {
	return strings.Fields(strings.Join(scopes, " "))
}

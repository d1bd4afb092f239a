package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/valetkey/valetkey/client"
	"github.com/valetkey/valetkey/internal/secret"
	"github.com/valetkey/valetkey/localapi"
)

const clientHelp = `Sets the client ID you got from a server's issuer, for issuers that don't let apps
register themselves. Valet Key asks you to confirm it. A client secret or a private
key is read from standard input, never from the command line.

You sign in with it in your browser, unless you choose another way:

  --grant-type client_credentials --secret-stdin (or --key-stdin)
      the client gets tokens by itself
  --assertion-file FILE
      the same, using your platform's workload identity
  --enterprise ISSUER --enterprise-client-id ID
      you sign in at your enterprise, which vouches for you at the server's issuer`

type registration struct {
	*program
	clientID, keyID, grantType, assertionFile, issuer string
	enterprise, enterpriseID, enterpriseKeyID         string
	secretStdin, keyStdin                             bool
	enterpriseSecretStdin, enterpriseKeyStdin         bool
	remove, json                                      bool
}

func newClient(p *program) *cobra.Command {
	v := &registration{program: p}
	c := verb("client URL|NAME", "set the client ID you got from an issuer", clientHelp, 1, 1, v.run)
	c.ValidArgsFunction = p.completeServers
	f := c.Flags()
	f.StringVar(&v.clientID, "client-id", "", "the client `ID`")
	f.BoolVar(&v.secretStdin, "secret-stdin", false, "read the client secret from standard input")
	f.BoolVar(&v.keyStdin, "key-stdin", false, "read a private key (PEM) from standard input, instead of a secret")
	f.StringVar(&v.keyID, "key-id", "", "the key's `ID` at the issuer, if it needs one")
	f.StringVar(&v.grantType, "grant-type", "", "how the client gets tokens by itself: the `TYPE` client_credentials")
	f.StringVar(&v.assertionFile, "assertion-file", "", "the `FILE` with your platform's workload identity; read again for each token")
	f.StringVar(&v.enterprise, "enterprise", "", "the `ISSUER` of your enterprise, where you sign in")
	f.StringVar(&v.enterpriseID, "enterprise-client-id", "", "your client `ID` at the enterprise")
	f.BoolVar(&v.enterpriseSecretStdin, "enterprise-secret-stdin", false, "read the client secret at the enterprise from standard input, on a line after the other secret")
	f.BoolVar(&v.enterpriseKeyStdin, "enterprise-key-stdin", false, "read a private key (PEM) from standard input, instead of that secret")
	f.StringVar(&v.enterpriseKeyID, "enterprise-key-id", "", "that key's `ID`")
	f.StringVar(&v.issuer, "issuer", "", "the `ISSUER` it is for, if not the server's")
	f.BoolVar(&v.remove, "remove", false, "remove the client ID you set")
	completeWords(c, "grant-type", "client_credentials")
	c.RegisterFlagCompletionFunc("assertion-file", func(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
		return nil, cobra.ShellCompDirectiveDefault // files
	})
	jsonFlag(c, &v.json)
	return c
}

func (v *registration) run(ctx context.Context, args []string) error {
	ours, err := v.client()
	if err != nil {
		return err
	}
	if err := v.readStdin(ctx, &ours); err != nil {
		return err
	}
	req := localapi.RegistrationRequest{Sent: client.Send(ours), Remove: v.remove}
	if req.Resource, err = v.server(ctx, args[0]); err != nil {
		return err
	}
	done, err := askPerson(v.program, ctx, func(c *localapi.Client, ctx context.Context) (*localapi.Registered, error) {
		return c.Register(ctx, req)
	})
	if err != nil {
		return err
	}
	if v.json {
		return v.printJSON(done)
	}
	if v.remove {
		return v.print(fmt.Sprintf("the client ID for %s is removed\n", clean(done.Issuer)))
	}
	return v.print(fmt.Sprintf("client ID %s is set for %s\n", clean(done.ClientID), clean(done.Issuer)))
}

// misused says which flags do not go together. What else is wrong with a client, the app says.
var misused = map[client.Kind]string{
	client.NoClientID:     "vk client needs --client-id",
	client.NoIssuer:       "which enterprise? name its issuer with --enterprise",
	client.NoClientThere:  "--enterprise needs --enterprise-client-id",
	client.TwoAssertions:  "--enterprise can't be combined with --grant-type or --assertion-file",
	client.AssertionAlone: "--assertion-file can't be combined with --grant-type",
}

// client is the one that the flags name, once it is seen that they go together. Standard input is yet to be read: a word
// stands in for each secret.
func (v *registration) client() (client.Client, error) {
	if v.remove {
		if v.clientID != "" || v.grantType != "" || v.assertionFile != "" || v.enterprise != "" || v.secretStdin || v.keyStdin {
			return client.Client{}, usage("client", "--remove can be combined only with --issuer")
		}
		return client.Client{Issuer: v.issuer}, nil
	}
	c := client.Client{Issuer: v.issuer, ClientID: v.clientID, Secret: standIn(v.secretStdin), Key: standIn(v.keyStdin), KeyID: v.keyID, GrantType: v.grantType}
	if v.enterprise != "" || v.enterpriseID != "" || v.enterpriseSecretStdin || v.enterpriseKeyStdin || v.enterpriseKeyID != "" {
		c.Enterprise = &client.Enterprise{Client: client.Client{
			Issuer: v.enterprise, ClientID: v.enterpriseID, Secret: standIn(v.enterpriseSecretStdin), Key: standIn(v.enterpriseKeyStdin), KeyID: v.enterpriseKeyID,
		}}
	}
	if v.assertionFile != "" {
		var err error
		if c.AssertionFile, err = filepath.Abs(v.assertionFile); err != nil {
			return c, err
		}
	}
	c = client.Send(c).Client() // with the grant type that goes with a file or an enterprise
	if fault, ok := errors.AsType[*client.Fault](c.Check()); ok && misused[fault.Kind] != "" {
		return c, usage("client", "%s", misused[fault.Kind])
	}
	return c, nil
}

func standIn(wanted bool) secret.Text {
	if wanted {
		return secret.New("on standard input")
	}
	return secret.Text{}
}

// readStdin reads what the flags say that standard input holds into c.
func (v *registration) readStdin(ctx context.Context, c *client.Client) error {
	there := &client.Client{}
	if c.Enterprise != nil {
		there = &c.Enterprise.Client
	}
	var what []string
	var into []*secret.Text
	for _, s := range []struct {
		wanted, key bool
		name        string
		into        *secret.Text
	}{
		{v.secretStdin, false, "client secret", &c.Secret},
		{v.keyStdin, true, "private key", &c.Key},
		{v.enterpriseSecretStdin, false, "client secret at the enterprise", &there.Secret},
		{v.enterpriseKeyStdin, true, "private key for the enterprise", &there.Key},
	} {
		if s.wanted && s.key && isTerminal(v.stdin) {
			return usage("client", "a key is more than one line: give its file, as in vk client … --key-stdin < key.pem")
		}
		if s.wanted {
			what, into = append(what, s.name), append(into, s.into)
		}
	}
	if len(what) > 1 && (v.keyStdin || v.enterpriseKeyStdin) {
		return usage("client", "standard input can hold one key and nothing else")
	}
	secrets, err := readSecrets(ctx, v.stdin, v.stderr, what...)
	for i, s := range secrets {
		*into[i] = s
	}
	return err
}

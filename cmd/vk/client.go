package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/spf13/pflag"

	"github.com/valetkey/valetkey/client"
	"github.com/valetkey/valetkey/internal/secret"
	"github.com/valetkey/valetkey/localapi"
)

func clientFlags(f *pflag.FlagSet, o *options) {
	f.StringVar(&o.clientID, "client-id", "", "the client `ID`")
	f.BoolVar(&o.secretStdin, "secret-stdin", false, "read the client secret from standard input")
	f.BoolVar(&o.keyStdin, "key-stdin", false, "read a private key (PEM) from standard input, in place of a secret")
	f.StringVar(&o.keyID, "key-id", "", "the key's `ID` at the issuer, where it wants one")
	f.StringVar(&o.grantType, "grant-type", "", "the `TYPE` client_credentials: the client gets tokens by itself")
	f.StringVar(&o.assertionFile, "assertion-file", "", "a `FILE` in which your platform says who this workload is; it is read for each token")
	f.StringVar(&o.enterprise, "enterprise", "", "the `ISSUER` of your enterprise, where you sign in and which speaks for you")
	f.StringVar(&o.enterpriseID, "enterprise-client-id", "", "the client `ID` there")
	f.BoolVar(&o.enterpriseSecretStdin, "enterprise-secret-stdin", false, "read the client secret there from standard input, on the line after the other one")
	f.BoolVar(&o.enterpriseKeyStdin, "enterprise-key-stdin", false, "read a private key (PEM) from standard input, in place of it")
	f.StringVar(&o.enterpriseKeyID, "enterprise-key-id", "", "that key's `ID`")
	f.StringVar(&o.issuer, "issuer", "", "the `ISSUER` it belongs to, if not the server's own")
	f.BoolVar(&o.remove, "remove", false, "remove the client ID that was set")
}

func (p *program) register(ctx context.Context, o *options, args []string) error {
	ours, err := o.client()
	if err != nil {
		return err
	}
	if err := p.readStdin(ctx, o, &ours); err != nil {
		return err
	}
	req := localapi.RegistrationRequest{Sent: client.Send(ours), Remove: o.remove}
	if req.Resource, err = p.server(ctx, args[0]); err != nil {
		return err
	}
	done, err := askPerson(p, ctx, func(c *localapi.Client, ctx context.Context) (*localapi.Registered, error) {
		return c.Register(ctx, req)
	})
	if err != nil {
		return err
	}
	if o.remove {
		return p.print(fmt.Sprintf("the client ID for %s is removed\n", clean(done.Issuer)))
	}
	return p.print(fmt.Sprintf("client ID %s is set for %s\n", clean(done.ClientID), clean(done.Issuer)))
}

// misused says which flags do not go together. What else is wrong with a client, the app says.
var misused = map[client.Kind]string{
	client.NoClientID:     "vk client needs --client-id",
	client.NoIssuer:       "which enterprise? name its issuer with --enterprise",
	client.NoClientThere:  "--enterprise needs --enterprise-client-id",
	client.TwoAssertions:  "--enterprise goes with neither --grant-type nor --assertion-file",
	client.AssertionAlone: "--assertion-file goes without --grant-type",
}

// client is the one that the flags name, once it is seen that they go together. Standard input is yet to be read: a word
// stands in for each secret.
func (o *options) client() (client.Client, error) {
	if o.remove {
		if o.clientID != "" || o.grantType != "" || o.assertionFile != "" || o.enterprise != "" || o.secretStdin || o.keyStdin {
			return client.Client{}, usage("client", "--remove takes no other flag but --issuer")
		}
		return client.Client{Issuer: o.issuer}, nil
	}
	c := client.Client{Issuer: o.issuer, ClientID: o.clientID, Secret: standIn(o.secretStdin), Key: standIn(o.keyStdin), KeyID: o.keyID, GrantType: o.grantType}
	if o.enterprise != "" || o.enterpriseID != "" || o.enterpriseSecretStdin || o.enterpriseKeyStdin || o.enterpriseKeyID != "" {
		c.Enterprise = &client.Enterprise{Client: client.Client{
			Issuer: o.enterprise, ClientID: o.enterpriseID, Secret: standIn(o.enterpriseSecretStdin), Key: standIn(o.enterpriseKeyStdin), KeyID: o.enterpriseKeyID,
		}}
	}
	if o.assertionFile != "" {
		var err error
		if c.AssertionFile, err = filepath.Abs(o.assertionFile); err != nil {
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
func (p *program) readStdin(ctx context.Context, o *options, c *client.Client) error {
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
		{o.secretStdin, false, "client secret", &c.Secret},
		{o.keyStdin, true, "private key", &c.Key},
		{o.enterpriseSecretStdin, false, "client secret at the enterprise", &there.Secret},
		{o.enterpriseKeyStdin, true, "private key for the enterprise", &there.Key},
	} {
		if s.wanted && s.key && isTerminal(p.stdin) {
			return usage("client", "a key is more than one line: give its file, as in vk client … --key-stdin < key.pem")
		}
		if s.wanted {
			what, into = append(what, s.name), append(into, s.into)
		}
	}
	if len(what) > 1 && (o.keyStdin || o.enterpriseKeyStdin) {
		return usage("client", "standard input holds one key and nothing else")
	}
	secrets, err := readSecrets(ctx, p.stdin, p.stderr, what...)
	for i, s := range secrets {
		*into[i] = s
	}
	return err
}

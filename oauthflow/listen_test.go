package oauthflow

import (
	"net"
	"testing"

	"github.com/valetkey/valetkey/client"
)

// Nobody else can listen where the browser comes back to, also who asks the system for a place that is taken.
func TestThePortIsOurs(t *testing.T) {
	l, p, err := bind(t.Context(), client.Client{})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	config := net.ListenConfig{Control: sharing}
	if other, err := config.Listen(t.Context(), "tcp", p.address()); err == nil {
		other.Close()
		t.Errorf("somebody else listens at %s too", p.address())
	}
}

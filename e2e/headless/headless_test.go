//go:build e2e && linux

// Package headless tests Valet Key without a display: the person sits at a terminal, or wrote a policy file beforehand.
package headless

{{/* What cannot work of the ledger: sentences, as YAML {problems: […]}. Takes root. */}}
{{- define "scoregate.ledgerProblems" -}}
{{- $problems := list }}
{{- $ledger := .root.Values.ledger }}
{{- if $ledger.segments.accept }}
{{- if not $ledger.url.existingSecret }}
{{- $problems = append $problems "ledger.segments.accept is true, but a segment stands in for a database, and ledger.url.existingSecret names none: set it, or accept no segments." }}
{{- end }}
{{- range $name, $_ := .root.Values.services }}
{{- $context := dict "root" $.root "name" $name }}
{{- $service := include "scoregate.service" $context | fromYaml }}
{{- if or (gt (int $service.replicas) 1) $service.autoscaling.enabled }}
{{- $problems = append $problems (printf "ledger.segments.accept is true, but services.%s may have several pods, which could decide the same key twice while the database is down: set services.%s.replicas to 1 and autoscaling.enabled to false, or accept no segments." $name $name) }}
{{- end }}
{{- if eq (len (include "scoregate.arms" $context | fromYaml).arms) 2 }}
{{- $problems = append $problems (printf "ledger.segments.accept is true, but services.%s has a canary, which could decide the same key as stable while the database is down: end the canary, or accept no segments." $name) }}
{{- end }}
{{- end }}
{{- end }}
{{- if and $ledger.retention.enabled (not $ledger.sqlite.ephemeral) }}
{{- range $name, $_ := .root.Values.services }}
{{- if gt (len (include "scoregate.name" (dict "root" $.root "name" $name))) 42 }}
{{- $problems = append $problems (printf "The release name %s is too long for the CronJob of services.%s: together they may have 42 characters, since a CronJob's name ends at 52; or set ledger.retention.enabled to false." $.root.Release.Name $name) }}
{{- end }}
{{- end }}
{{- end }}
{{- with $ledger.checkpoints }}
{{- if and .existingClaim $ledger.sqlite.ephemeral }}
{{- $problems = append $problems "ledger.checkpoints.existingClaim is set, but ledger.sqlite.ephemeral is true: each new pod would contradict what was signed of the one before. Keep the ledger, or take no checkpoints." }}
{{- end }}
{{- if and .existingClaim (not .signingKey.existingSecret) }}
{{- $problems = append $problems "ledger.checkpoints.existingClaim is set, but ledger.checkpoints.signingKey.existingSecret is empty, and each pod would sign with a key of its own: name a Secret that holds checkpoint.key." }}
{{- end }}
{{- if and .signingKey.existingSecret (not .existingClaim) }}
{{- $problems = append $problems "ledger.checkpoints.signingKey.existingSecret is set, but ledger.checkpoints.existingClaim is empty, so no checkpoint would be kept: name a PersistentVolumeClaim." }}
{{- end }}
{{- end }}
{{- toYaml (dict "problems" $problems) }}
{{- end }}

{{/* What cannot work of training again: sentences, as YAML {problems: […]}. Takes root. */}}
{{- define "scoregate.retrainProblems" -}}
{{- $problems := list }}
{{- with .root.Values.retrain }}
{{- if .enabled }}
{{- if not .existingClaim }}
{{- $problems = append $problems "retrain.enabled is true, but retrain.existingClaim is empty: name the PersistentVolumeClaim with the state folder that is trained from, and that challengers are written into." }}
{{- end }}
{{- if not $.root.Values.ledger.url.existingSecret }}
{{- $problems = append $problems "retrain.enabled is true, but ledger.url.existingSecret is empty: whether to train again, the decisions of all pods say, so they need one ledger." }}
{{- end }}
{{- range $name, $_ := $.root.Values.services }}
{{- if gt (len (include "scoregate.name" (dict "root" $.root "name" $name))) 44 }}
{{- $problems = append $problems (printf "The release name %s is too long for the CronJob that trains services.%s again: together they may have 44 characters, since a CronJob's name ends at 52." $.root.Release.Name $name) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- toYaml (dict "problems" $problems) }}
{{- end }}
